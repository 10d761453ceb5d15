"""The thresholds of the alarms, with their reasons."""

from pydantic import BaseModel, ConfigDict, Field


class AlarmConfig(BaseModel):
    """When an operator is told. A share of answers counts only from `least_errors` in five minutes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runbook: str = Field(
        "docs/runbook.md", min_length=1, description="Address of the runbook as operators reach it, such as a URL."
    )
    voice_to_voice_p95_seconds: float = Field(
        2.0, gt=0, le=10, description="Slowest answer of 95 %: beyond two seconds callers say hello again."
    )
    refused_calls_per_minute: int = Field(
        5, ge=1, description="Handshakes that full nodes refuse; a few are met by the client's retry on another node."
    )
    least_errors: int = Field(5, ge=1, description="Errors in five minutes below which no share is reckoned.")
    speech_errors_percent: float = Field(
        2.0, gt=0, le=100, description="Failed recognitions or syntheses, per hundred of them and of answers."
    )
    llm_errors_percent: float = Field(
        2.0, gt=0, le=100, description="Requests that the language model failed, per hundred of them and of answers."
    )
    spoken_lines_percent: float = Field(
        2.0, gt=0, le=100, description="Lines that callers hear in place of answers, per hundred of both."
    )
    llm_failovers_percent: float = Field(
        20.0,
        gt=0,
        le=50,
        description="Answers that a stand-in gives, per hundred of them and of all answers: 50 if it gives each.",
    )
    underruns_percent: float = Field(
        2.0, gt=0, le=100, description="Gaps in the middle of an answer, per hundred of them and of answers."
    )
    late_clauses_percent: float = Field(
        5.0, gt=0, le=100, description="Clauses that come late, per hundred of them and of answers; some are no gap."
    )
    throttles_per_minute: int = Field(
        5, ge=1, description="Requests that Bedrock throttles; fewer are met by the node's own retry."
    )
    utilization: float = Field(
        0.85, gt=0, le=1, description="Share of sessions taken above which the next node may come too late."
    )
    pending_minutes: int = Field(
        20, ge=5, le=120, description="How long a node may take to join: more than the launch hook's own limit."
    )
    fleet_errors: int = Field(
        30,
        ge=1,
        description="Failed requests of nodes to CloudWatch and Auto Scaling in 15 minutes; 90 are made by one.",
    )
    service_restarts: int = Field(3, ge=1, description="Restarts of a service in 15 minutes; one may be an accident.")
    gpu_memory_free_mib: int = Field(
        1_300, ge=1, description="Free frame buffer of a GPU, whatever its size; A10G and L4 have 22,888 MiB in all."
    )
    gpu_celsius: int = Field(85, ge=1, description="GPU temperature; an A10G slows down some degrees above.")
    gpu_power_percent: float = Field(
        50.0, gt=0, le=100, description="Share of time slowed for power; short spells are how a GPU regulates itself."
    )
    gpu_thermal_percent: float = Field(
        5.0, gt=0, le=100, description="Share of time slowed for heat; a healthy card spends none."
    )
    root_disk_free_gib: float = Field(5.0, gt=0, description="Free space of the root volume of any node.")
    model_cache_free_gib: float = Field(10.0, gt=0, description="Free space of the model cache of any node.")
    memory_free_gib: float = Field(1.5, gt=0, description="Available memory of any node; a g5.xlarge has 16 GiB.")
