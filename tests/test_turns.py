# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from tiny_models import FAST, tone

from zipvoice.synthesis.turns import Turn, plan_turns, spoken_turns, turns_of

LOW, HIGH = (tone(0.6, hertz=200), "low tone"), (tone(0.8, hertz=800), "high tone")
TEXT = "[S1] hello there. [S2] hi! how are you? [S1] fine."


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("[S1] a [S2] b", [Turn(0, "a"), Turn(1, "b")]),
        ("  [S2]: b\n[S1]: a\n", [Turn(1, "b"), Turn(0, "a")]),
        ("[S1] a [S1] b [S3] c", [Turn(0, "a b"), Turn(2, "c")]),
        ("[S1] the tag \\[S2] b", [Turn(0, "the tag \\[S2] b")]),
        (["[S1] a\n", "and b\n", "[S2] c"], [Turn(0, "a\nand b"), Turn(1, "c")]),
    ],
)
def test_turns_are_read(text, turns):
    assert turns_of(text) == turns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello [S2] hi", "begins with \\[S1\\], not with 'hello'"),
        ("", "begins with"),
        (None, "a text is a str, or its lines, not a NoneType"),
        ("[S1] hi [S2] [S1] ho", "turn 2 of the dialogue, of \\[S2\\], says nothing"),
        ("[S1] hi [S3] ho", "turns of \\[S3\\], but there are 2 voices"),
        ("[S0] hi", "turns of \\[S0\\]"),
    ],
)
def test_what_cannot_be_a_dialogue_is_told(synthesizer, text, message):
    with pytest.raises(ValueError, match=message):
        synthesizer.dialog(text, [LOW, HIGH], FAST)


def test_each_turn_is_in_the_voice_of_its_speaker_with_a_pause_behind(synthesizer):
    voices = [synthesizer.prompt(*voice) for voice in (LOW, HIGH)]
    chunks = list(plan_turns(synthesizer, TEXT, voices, synthesizer.resolved(FAST), "a"))
    assert [voices.index(chunk.voice.prompt) for chunk in chunks] == [0, 1, 0]
    assert [chunk.pause for chunk in chunks] == [0.3, 0.3, 0]
    assert len({chunk.seed for chunk in chunks}) == 3
    spoken = ["".join(synthesizer.table.tokens[i] for i in chunk.ids) for chunk in chunks]
    assert spoken == ["hello there.", "hi! how are you?", "fine."]


def test_a_pause_that_is_asked_for_takes_the_place_of_that_of_the_turn(synthesizer):
    voices = [synthesizer.prompt(*voice) for voice in (LOW, HIGH)]
    plan = plan_turns(synthesizer, "[S1] a. [pause 2s] [S2] b.", voices, synthesizer.resolved(FAST))
    assert [chunk.pause for chunk in plan] == [2, 0]


def test_a_turn_sounds_as_it_does_alone(synthesizer):
    alone = synthesizer.synthesize("hi! how are you?", HIGH, FAST, name="a turn 2")
    whole = synthesizer.dialog(TEXT, [LOW, HIGH], FAST, name="a").samples
    inner = alone.samples[:, 2400:-2400]  # its edges are fitted to what is beside it
    beginnings = np.lib.stride_tricks.sliding_window_view(whole[0], 64)
    start = np.abs(beginnings - inner[0, :64]).max(axis=1).argmin()
    np.testing.assert_allclose(whole[:, start : start + inner.shape[1]], inner, atol=1e-5, rtol=0)


def test_its_parts_are_the_whole(synthesizer):
    parts = spoken_turns(synthesizer, TEXT, [LOW, HIGH], FAST)
    samples = np.concatenate([part.samples for part in parts], axis=1)
    assert np.array_equal(samples, synthesizer.dialog(TEXT, [LOW, HIGH], FAST).samples)


def test_two_voices_of_the_package_speak_unless_others_are_named(synthesizer, monkeypatch):
    found = []
    monkeypatch.setattr(
        "zipvoice.synthesis.turns.find_prompt",
        lambda _, voice, **settings: found.append(voice) or synthesizer.prompt(*LOW),
    )
    synthesizer.dialog("[S1] a [S2] b", options=FAST)
    assert found == ["heart", "libri26"]


def test_one_voice_is_not_enough_and_a_duration_too_much(synthesizer):
    with pytest.raises(ValueError, match="give a list with the voice of each speaker"):
        synthesizer.dialog(TEXT, synthesizer.prompt(*LOW), FAST)
    with pytest.raises(ValueError, match="leave out --duration"):
        synthesizer.dialog(TEXT, [LOW, HIGH], FAST, duration=3.0)
