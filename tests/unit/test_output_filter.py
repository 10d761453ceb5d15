"""What a model writes and no caller is to hear or read is taken out, wherever the stream was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.marks import LONGEST_MARK
from server.llm.output_filter import OutputFilter

HIDDEN = [
    ("<thinking>The user asks for the time.</thinking>\n\nIt is noon.", "It is noon."),
    ("<think>a < b, so <b>no</b></think>It is noon.", "It is noon."),
    ("<THINK>\nhm\n</THINK>\nIt is noon.", "It is noon."),
    ("<thought>hm</thought>It is <reasoning>why?</reasoning>noon.", "It is noon."),
    ('<thinking type="deep">hm</thinking>It is noon.', "It is noon."),
    ("<thinking>hm</think>It is noon.", "It is noon."),
    ("<scratchpad>hm</scratchpad><reflection>hm</reflection><answer>It is noon.</answer>", "It is noon."),
    ("<seed:think>hm</seed:think>It is noon.", "It is noon."),
    ("[THINK]hm[/THINK]It is noon.", "It is noon."),
    ("\u25c1think\u25b7hm\u25c1/think\u25b7It is noon.", "It is noon."),
    ("<|begin_of_thought|>hm<|end_of_thought|>It is noon.", "It is noon."),
    ("<|START_THINKING|>hm<|END_THINKING|>It is noon.", "It is noon."),
    (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>It is noon.",
        "It is noon.",
    ),
    ("It is noon.<think>Was that right?", "It is noon."),
    ("<think>never closed, and so all of it", ""),
    ("It is noon.<|im_end|><|eot_id|>", "It is noon."),
    ("<|im_start|>assistant\nIt is noon.", "It is noon."),
    ("<start_of_turn>model\nIt is noon.<end_of_turn>", "It is noon."),
    ("[INST]It is noon.[/INST]", "It is noon."),
    ('One moment.<tool_call>{"name": "get_time"}</tool_call>', "One moment."),
    ('<function=get_time>{"tz": "UTC"}</function>It is noon.', "It is noon."),
    ('It is noon. [TOOL_CALLS][{"name": "get_time"}]', "It is noon."),
]

MARKUP = [
    ("It is <b>noon</b>.<br>Really<br/>so.", "It is noon.\nReally\nso."),
    ('<p class="big">It is</p><p>noon.</p>', "It is\n\nnoon."),
    ("<ul><li>tea</li><li>milk</li></ul>", "tea\n\nmilk"),
    ("<table><tr><td>Tea</td><td>3</td></tr></table>", "Tea | 3 |"),
    ("It <!-- no -->is <em>noon</em><script>alert(1)</script>.", "It is noon."),
    ("See <a href='https://example.com/?a=1&b=2'>this</a>.", "See this."),
    ('<speak>It is <break time="1s"/>noon.</speak>', "It is noon."),
    ("Rock &amp; roll, 5 &lt; 6, &#39;so&#39;&nbsp;it is.", "Rock & roll, 5 < 6, 'so' it is."),
    ("Paris [1] is big [2, 3]. Yes [4][5], [^6] it is [7-9].", "Paris is big. Yes, it is."),
    ("Paris is big [1](https://example.com/a_b), they say.", "Paris is big, they say."),
    ("It is so \u30104:0\u2020source\u3011 and [doc1] so [source: 2].", "It is so and so."),
    ("It is so\ue200cite\ue202turn0search0\ue201.", "It is so."),
    ("It is $x^2$, and \\(a+b\\) too.", "It is x squared, and a plus b too."),
    ("So $$E=mc^2$$ and \\[\\frac{1}{2}\\] are.", "So E equals mc squared and 1 over 2 are."),
    ("That makes $2 + 2 = 4$ then.", "That makes 2 plus 2 equals 4 then."),
    ("The answer is \\boxed{42}.", "The answer is 42."),
    ("Half is \\frac{1}{2} of \\sqrt{16}, 20^\\circ no.", "Half is 1 over 2 of the square root of 16, 20^degrees no."),
    ("Dear <first_name>, it is noon.", "Dear first name, it is noon."),
    ("Write `<br>` there.", "Write `br` there."),
]

PLAIN = [
    "It costs $5, or $10 - that is cheap - and $5-$10 there.",
    "That is 5$ (or 6$), $1.2 million, $12.50!",
    "5 < 6 and 7 > 3, if a<b and b>c then a<c.",
    "AT&T, R&D; Q&A & so on.",
    "Press [1] for sales, [2] for support or [3] to end.",
    "That is funny [laugh], [Your Name]. [Pause]",
    "C:\\Users\\name, \\o/ and a \\ b.",
    "vector<int> and x <y and z.",
    "* a list\n* of two\n\n| a | b |\n|---|---|",
    "I think, therefore I am. Let me think about it.",
    "2^3 and snake_case and {braces}.",
    "Wait... what?! (Yes.)  Two  blanks.",
]


def filtered(text: str, size: int, markup: bool = True) -> str:
    """What passes if `text` comes in pieces of so many characters."""
    output, passed = OutputFilter(markup), ""
    for start in range(0, len(text), size):
        piece = output.push(text[start : start + size])
        passed = piece if output.takes_back else passed + piece
    return (passed + output.flush()).rstrip(" \n")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("markup", [True, False])
@pytest.mark.parametrize(("text", "meant"), HIDDEN)
def test_thoughts_and_tokens_are_for_nobody(text: str, meant: str, markup: bool, size: int) -> None:
    """livekit/agents#1599: Nova with tools thinks aloud before it answers."""
    if markup or "<answer>" not in text:
        assert filtered(text, size, markup) == meant


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "meant"), MARKUP)
def test_markup_is_not_for_the_caller(text: str, meant: str, size: int) -> None:
    assert filtered(text, size) == meant


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("text", PLAIN)
def test_other_text_passes_as_it_is(text: str, size: int) -> None:
    assert filtered(text, size) == text


@pytest.mark.parametrize("text", [text for text, _ in MARKUP])
def test_what_an_application_asked_for_beside_the_conversation_keeps_its_markup(text: str) -> None:
    if "<!--" not in text:
        assert filtered(text, 3, markup=False) == text


def test_a_thought_whose_beginning_was_not_written_is_taken_back() -> None:
    """Templates that put the opening tag into the prompt (DeepSeek R1, QwQ) leave the model only the closing one."""
    output = OutputFilter()
    assert output.push("The user wants to know the time. ") == "The user wants to know the time."
    assert output.push("</think>\n\nIt is") == "It is"
    assert output.takes_back
    assert output.push(" noon.") == " noon."
    assert not output.takes_back


@pytest.mark.parametrize(
    ("text", "behind"), [("It costs $5 today, so be it.", 4), ("A & B <-> C [so] it is", 4), ("x < y or so", 2)]
)
def test_nothing_waits_longer_than_it_has_to(text: str, behind: int) -> None:
    output, passed = OutputFilter(), 0
    for index, character in enumerate(text):
        passed += len(output.push(character))
        assert index + 1 - passed <= behind


@given(st.text("<>/|[]()$\\{}&;^_ `\nabthink1=\"'!-", max_size=60), st.integers(1, 7))
def test_where_the_stream_is_cut_makes_no_difference(text: str, size: int) -> None:
    assert filtered(text, size) == filtered(text, 1000)


@given(st.text(max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    filtered(text, 3)


@pytest.mark.parametrize("pattern", ["<", "[", "&", "$", "\\", "<a", "$1", "\\frac{", "[1", "<|", "<a b=", "`<", "\\("])
def test_what_is_held_back_is_bounded(pattern: str) -> None:
    output, passed = OutputFilter(), 0
    for count in range(1, 1000):
        passed += len(output.push(pattern))
        assert count * len(pattern) - passed <= LONGEST_MARK + 2 * len(pattern)
