"""Every metric of the node, declared once: its name, its unit, its one-line meaning.

Code elsewhere only observes. A dashboard, an alarm or a scaling policy may use nothing that is not here;
`docs/metrics.md` is made from this file (`make docs`).
"""

from functools import partial
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from server.limits import Amount, Rate

# A `_created` beside every counter and histogram would double the page for nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()


def _counter(name: str, meaning: str, label: str, values: tuple[str, ...]) -> Counter:
    """A counter with a label whose values are known, each there at 0 from the start.

    The CloudWatch agent reports what a series has grown by since the scrape before, and so never reports the event with
    which a series appears. An alarm may count nothing that begins in that way.
    """
    counter = Counter(name, meaning, [label], registry=REGISTRY)
    for value in values:
        counter.labels(value)
    return counter


# A turn's stages live between 10 ms and a few seconds; the human gap of about 200 ms and our goals lie inside.
_TURN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_LAG_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_REQUEST_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALL_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)

sessions_active = Gauge(
    "voice_sessions_active",
    "Calls being served now, and HTTP requests by what they cost of one: speech 1, a transcription 0.5.",
    registry=REGISTRY,
)
sessions_capacity = Gauge("voice_sessions_capacity", "Calls this node accepts at most now.", registry=REGISTRY)
sessions_utilization = Gauge(
    "voice_sessions_utilization_ratio",
    "What voice_sessions_active counts over capacity, 0 to 1: what the fleet scales on.",
    registry=REGISTRY,
)
agent_talk_ratio = Gauge(
    "voice_agent_talk_ratio",
    "Speech made for a second of a call, lately; the node takes the more calls for each stream the lower it is.",
    registry=REGISTRY,
)
sessions_total = Counter("voice_sessions", "Calls accepted since the node started.", registry=REGISTRY)
session_seconds = Histogram("voice_session_seconds", "How long calls last.", buckets=_CALL_SECONDS, registry=REGISTRY)
handshakes_refused = _counter(
    "voice_handshakes_refused",
    "Handshakes refused, by reason; caller_full: the key or token holds all the calls that it may.",
    "reason",
    ("full", "draining", "caller_full", "audio", "credentials", "origin", "path", "subprotocol", "ticket"),
)
http_requests = Counter(
    "voice_http_requests",
    "Requests to the HTTP API on the port of calls, by path and status (0: the client left before its answer began).",
    ["path", "status"],
    registry=REGISTRY,
)
http_request_seconds = Histogram(
    "voice_http_request_seconds",
    "How long requests to the HTTP API last, to the end of their answer, by path.",
    ["path"],
    buckets=_REQUEST_SECONDS,
    registry=REGISTRY,
)
http_requests_in_progress = Gauge(
    "voice_http_requests_in_progress", "Requests to the HTTP API that are being answered.", registry=REGISTRY
)
http_upload_bytes = Gauge(
    "voice_http_upload_bytes", "Bytes of recordings that are held for transcription.", registry=REGISTRY
)
connections_dropped = _counter(
    "voice_connections_dropped",
    "Connections dropped, by why: silent (no request in time; on the HTTP port none that was answered), crowded (the "
    "oldest of too many).",
    "reason",
    ("silent", "crowded"),
)
draining = Gauge("voice_draining", "1 while the node takes no new calls and lets its own finish.", registry=REGISTRY)
drain_cut_calls = Counter("voice_drain_cut_calls", "Calls closed because they outlasted the drain.", registry=REGISTRY)

calls_told_to_move = Counter(
    "voice_calls_told_to_move",
    "Times that a draining node told a client which can resume to go on with its call at another node.",
    registry=REGISTRY,
)
tickets_issued = Counter(
    "voice_tickets_issued", "Session tickets given to clients that can resume their calls.", registry=REGISTRY
)
calls_resumed = Counter(
    "voice_calls_resumed", "Calls that went on here from a ticket, from whatever node.", registry=REGISTRY
)
tickets_refused = _counter(
    "voice_tickets_refused",
    "Tickets that opened no call, by reason (docs/protocol.md).",
    "reason",
    ("damaged", "unknown_version", "unknown_key", "foreign", "stale", "used"),
)

turn_stage_seconds = Histogram(
    "voice_turn_stage_seconds",
    "One stage of a turn: endpointing (speech end to end of turn), stt (to the transcript), llm_first_token "
    "(to the model's first token), llm_first_clause (to its first speakable clause), tts_first_audio (to its audio).",
    ["stage"],
    buckets=_TURN_SECONDS,
    registry=REGISTRY,
)
calls_ended = _counter(
    "voice_calls_ended",
    "Calls that the node ended, by reason: a limit in time; slow_client: the client did not read what it was sent; "
    "ping_timeout: it did not answer a ping; resumed: connections whose call went on at another one.",
    "reason",
    ("idle", "longest_call", "credential_expired", "credential_revoked", "resumed", "slow_client", "ping_timeout"),
)
speculations = _counter(
    "voice_speculations",
    "Times that model and voice began before a turn was surely over, by what became of the answer: used; resumed: the "
    "caller went on, or the client took or dropped the turn; changed: something else was to be answered; failed: the "
    "model had failed, and was asked again; ended: the call.",
    "outcome",
    ("used", "resumed", "changed", "failed", "ended"),
)
speculation_wasted_seconds = _counter(
    "voice_speculation_wasted_seconds",
    "Seconds in answers that were begun before a turn was surely over, and thrown away: that the model worked (model), "
    "and of speech that the voice made (speech).",
    "part",
    ("model", "speech"),
)
speculation_wasted_tokens = _counter(
    "voice_speculation_wasted_tokens",
    "Tokens of such answers, by kind. As the model counted them, if it had finished; else estimated, the output at "
    "four characters a token. voice_llm_tokens_total has only those that it had counted.",
    "kind",
    ("input", "output"),
)
turn_ends = _counter(
    "voice_turn_ends",
    "Turns of callers that ended, by why: silence (as long as set), committed (by the client), audio_gone, or a reason "
    "of semantic_vad (docs/turns.md).",
    "reason",
    (
        *("silence", "committed", "audio_gone"),
        *("unjudged", "no_words", "finished", "unsure", "unfinished", "spelling"),
    ),
)
voice_to_voice_seconds = Histogram(
    "voice_to_voice_seconds",
    "From the caller's last speech to the first audio of the answer.",
    buckets=_TURN_SECONDS,
    registry=REGISTRY,
)
turns = _counter(
    "voice_turns", "Answers ended, by their status.", "status", ("completed", "cancelled", "incomplete", "failed")
)
interruptions = Counter("voice_interruptions", "Answers that the caller cut off by speaking.", registry=REGISTRY)
voices_judged = _counter(
    "voice_voices_judged",
    "Voices heard while the assistant spoke, by what they were: turn is one that outlasted its speech; false an "
    "interruption that had no words, after which the answer goes on. One interruption may count as both.",
    "judgement",
    ("interruption", "backchannel", "echo", "noise", "turn", "false"),
)
audio_underruns = Counter(
    "voice_audio_underruns",
    "Times that a caller's playback ran out of audio in the middle of an answer.",
    registry=REGISTRY,
)
clause_lateness_seconds = Histogram(
    "voice_clause_lateness_seconds",
    "How long after the caller's playout needed it a clause's first audio came; 0 where it came in time: before the "
    "end of what was heard, or half a second after it was asked for.",
    buckets=(0.0, *_TURN_SECONDS),
    registry=REGISTRY,
)
late_clauses = Counter(
    "voice_late_clauses", "Clauses whose first audio came after the caller's playout needed it.", registry=REGISTRY
)
frame_lateness_seconds = Histogram(
    "voice_frame_lateness_seconds",
    "How long after it was due an audio frame left for the caller. Frames that fill the caller's buffer, or for which "
    "the voice was too late, have no due time; delays of the gateway itself always count.",
    buckets=_LAG_SECONDS,
    registry=REGISTRY,
)
client_errors = Counter("voice_client_errors", "Error events sent to clients, by code.", ["code"], registry=REGISTRY)
client_faults = _counter(
    "voice_client_faults",
    "Calls that the node ended because the client broke a protocol that has no errors (Twilio's), by how.",
    "fault",
    (
        *("no_start", "out_of_order", "foreign_stream", "binary_message", "invalid_message", "media_format"),
        *("parameters", "credentials", "audio_rate"),
    ),
)
limits_met = _counter(
    "voice_limits_met",
    "Times that a call met one of its limits, by limit; each is the setting VOICE_ and its name.",
    "limit",
    (*get_args(Amount), *get_args(Rate), "audio_rate", "max_waiting_audio_seconds"),
)

queue_depth = Gauge(
    "voice_queue_depth",
    "Entries waiting, by queue: vad (frames), smart_turn (pauses), stt (utterances), tts (clauses).",
    ["queue"],
    registry=REGISTRY,
)
queue_refused = _counter(
    "voice_queue_refused",
    "Entries refused because a queue was full.",
    "queue",
    ("smart_turn", "stt", "tts", "outgoing"),
)
stt_refused = Counter(
    "voice_stt_refused", "Utterances that gave no text because a gate refused it, by gate.", ["gate"], registry=REGISTRY
)
early_words = Counter(
    "voice_early_words",
    "Times the recogniser was asked while a caller spoke, by outcome: heard, or why not (busy: too much other work).",
    ["outcome"],
    registry=REGISTRY,
)
stt_batch_size = Histogram(
    "voice_stt_batch_size", "Utterances recognised in one batch.", buckets=(1, 2, 4, 8, 16), registry=REGISTRY
)
vad_batch_size = Histogram(
    "voice_vad_batch_size",
    "Sessions whose frames shared one run of the VAD.",
    buckets=(1, 2, 4, 8, 16, 32),
    registry=REGISTRY,
)
vad_errors = Counter(
    "voice_vad_errors", "Batches of frames that the VAD failed to judge; they count as silence.", registry=REGISTRY
)
smart_turn_seconds = Histogram(
    "voice_smart_turn_seconds",
    "From a session's question whether a turn is over to smart-turn's opinion.",
    buckets=_TURN_SECONDS,
    registry=REGISTRY,
)
model_cpu_seconds = _counter(
    "voice_model_cpu_seconds",
    "CPU seconds of process_cpu_seconds_total that a model in the gateway has used, by model.",
    "model",
    ("vad", "smart_turn"),
)
smart_turn_errors = Counter(
    "voice_smart_turn_errors",
    "Pauses that smart-turn failed to judge; turn-taking does without its opinion.",
    registry=REGISTRY,
)
llm_errors = _counter(
    "voice_llm_errors",
    "Requests the language model failed, by failure.",
    "failure",
    ("throttled", "timeout", "unavailable", "invalid_request", "interrupted", "context_length_exceeded"),
)
llm_failovers = Counter(
    "voice_llm_failovers",
    "Answers that another language model gave, or went on with, than was asked before, by why: the failure of that "
    "one; slow: it had not begun in time; open: its circuit breaker leaves it alone. Both as VOICE_LLM names them, and "
    "the same if a model was asked once more to finish what it had begun.",
    ["from", "to", "reason"],
    registry=REGISTRY,
)
llm_hedges = _counter(
    "voice_llm_hedges",
    "Requests to a second language model beside one that had not begun in time, by outcome: won (it wrote first), lost "
    "or failed.",
    "outcome",
    ("won", "lost", "failed"),
)
llm_breaker_state = Gauge(
    "voice_llm_breaker_state",
    "A language model's circuit breaker: 0 closed, 1 half open (the next request tries it), 2 open (it failed again "
    "and again, or its server asks for time, and it is asked last).",
    ["model"],
    registry=REGISTRY,
)
spoken_lines = _counter(
    "voice_spoken_lines",
    "Times that a caller heard a line of VOICE_SPOKEN_LINES in place of an answer, by why.",
    "kind",
    ("busy", "failed", "no_answer", "not_heard"),
)
llm_bounded_answers = _counter(
    "voice_llm_bounded_answers",
    "Answers that were ended because the language model's server sent more than any honest one: text, arguments of "
    "functions, calls of functions, bytes of the stream or of one event in it; or because it took too many seconds.",
    "bound",
    ("text", "arguments", "calls", "bytes", "event", "seconds"),
)
context_items_left_out = Counter(
    "voice_context_items_left_out",
    "Items of conversations that the language model is no longer shown, since they hold more than it can read.",
    registry=REGISTRY,
)
silent_answers = _counter(
    "voice_silent_answers",
    "Answers that ended with nothing for the caller, by reason: empty (the model wrote nothing), hidden (only thoughts "
    "and markup), unspeakable (in a script that the voice lacks), length, content_filter.",
    "reason",
    ("empty", "hidden", "unspeakable", "length", "content_filter"),
)
transliterated_clauses = Counter(
    "voice_transliterated_clauses",
    "Clauses with letters of a script that the voice lacks, spoken by Latin ones.",
    registry=REGISTRY,
)
unspoken_clauses = Counter(
    "voice_unspoken_clauses",
    "Clauses of answers that the voice made no sound of; they are in the transcript all the same.",
    registry=REGISTRY,
)
llm_tokens = _counter(
    "voice_llm_tokens", "Tokens of the language model, by kind.", "kind", ("input", "cached", "output")
)
worker_up = Gauge("voice_worker_up", "1 while the worker answers its health check.", ["worker"], registry=REGISTRY)
worker_restarts = _counter("voice_worker_restarts", "Times a worker was started again.", "worker", ("stt", "tts"))
worker_retries = _counter(
    "voice_worker_retries",
    "Requests sent a second time because the worker died under the first.",
    "worker",
    ("stt", "tts"),
)
tts_worker_up = Gauge(
    "voice_tts_worker_up", "1 while the TTS worker serves, by its address.", ["worker"], registry=REGISTRY
)
tts_worker_outstanding = Gauge(
    "voice_tts_worker_outstanding",
    "Clauses that this gateway has in flight at the TTS worker, by its address.",
    ["worker"],
    registry=REGISTRY,
)
tts_worker_streams = Gauge(
    "voice_tts_worker_streams",
    "Streams that the TTS worker says it can speak at once in real time; 0: not known, or it does not serve.",
    ["worker"],
    registry=REGISTRY,
)
speech_errors = _counter(
    "voice_speech_errors",
    "Requests for speech that failed for the session after every retry, by part: stt, tts.",
    "part",
    ("stt", "tts"),
)
event_loop_lag_seconds = Histogram(
    "voice_event_loop_lag_seconds",
    "How late the gateway's event loop wakes from a timed sleep.",
    buckets=_LAG_SECONDS,
    registry=REGISTRY,
)
event_loop_tasks = Gauge(
    "voice_event_loop_tasks",
    "Tasks that the gateway's event loop has; without calls always as many.",
    registry=REGISTRY,
)
log_lines_dropped = Counter(
    "voice_log_lines_dropped", "Log lines lost because the reader was too slow or the disk was full.", registry=REGISTRY
)

reported_unhealthy = Gauge(
    "voice_reported_unhealthy", "1 while the node asks its Auto Scaling group to replace it.", registry=REGISTRY
)
interruption_notices = _counter(
    "voice_interruption_notices",
    "What EC2 announced: spot (it takes the instance back), rebalance (it may soon).",
    "kind",
    ("spot", "rebalance"),
)
fleet_errors = _counter(
    "voice_fleet_errors",
    "Requests to AWS for fleet management that failed: CompleteHook, Heartbeat, Protect, ReportUnhealthy (Auto "
    "Scaling), PutMetricData (CloudWatch).",
    "request",
    ("CompleteHook", "Heartbeat", "Protect", "ReportUnhealthy", "PutMetricData"),
)

worker_pids: dict[str, int] = {}
"""The process of each worker that this gateway started and that runs, by its name."""


def _process_of(worker: str) -> int | str:
    """Its place in `/proc`; one that there is not, if it does not run."""
    return worker_pids.get(worker, "none")


# process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, ...; read when they are asked for.
ProcessCollector(registry=REGISTRY)
for _worker in ("stt", "tts"):
    ProcessCollector(f"voice_{_worker}_worker", partial(_process_of, _worker), registry=REGISTRY)
