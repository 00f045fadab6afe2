# SPDX-License-Identifier: Apache-2.0
"""What an utterance is: the part of a recording, the channels, as `check` and training hear them."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zipvoice.config.data import CheckOptions, DataConfig, ManifestConfig
from zipvoice.config.text import TokenizerConfig

pytest.importorskip("lhotse")
from zipvoice.data import manifest
from zipvoice.data.corpus_list import checked_cuts, listed
from zipvoice.data.cuts import extract_features, load_audio, make_cut, recorded_audio, recording, two_channels
from zipvoice.data.mux import TokenizedCuts
from zipvoice.data.schema import shown
from zipvoice.data.segments import whole
from zipvoice.data.validation.checks import run_checks
from zipvoice.data.validation.stats import measure_corpus
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

TOKENIZER = build_tokenizer(TokenizerConfig("simple"))
TABLE = TokenTable(("_", *"abcdefghijklmnopqrstuvwxyz "))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cut_of(path, seconds, channels=1):
    """A line of a manifest, as an object."""
    span = {"id": "a", "start": 0.0, "duration": seconds, "channel": 0}
    recording = {
        "id": "recording",
        "sources": [{"type": "file", "channels": list(range(channels)), "source": str(path)}],
        "sampling_rate": 24000,
        "num_samples": round(seconds * 24000),
        "duration": seconds,
        "channel_ids": list(range(channels)),
    }
    supervision = {**span, "recording_id": "recording", "text": "well"}
    return {**span, "supervisions": [supervision], "recording": recording, "type": "MonoCut"}


def write_manifest(cuts):
    Path("cuts.jsonl").write_text("".join(json.dumps(cut) + "\n" for cut in cuts))


def test_a_supervision_within_its_cut_is_what_is_learned(folder):
    soundfile.write("a.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 38400), 24000)
    lines = []
    for name, start, seconds in (
        ("part", 0.4, 0.6),
        ("whole", 0.0, 1.6),
        ("rounded", 0.02, 1.55),
        ("early", -0.4, 1.0),
    ):
        line = cut_of(folder / "a.wav", 1.6)
        line["id"] = line["supervisions"][0]["id"] = name
        line["supervisions"][0] |= {"start": start, "duration": seconds}
        lines.append(line)
    write_manifest(lines)
    part, whole, rounded, early = (cut for _, cut in checked_cuts("cuts.jsonl").good)
    assert (rounded.start, rounded.duration) == (0.0, 1.6)
    assert (early.start, early.duration) == (0.0, pytest.approx(0.6))
    assert (part.start, part.duration, part.id) == (0.4, 0.6, "part")
    assert (whole.start, whole.duration) == (0.0, 1.6)
    expected = load_audio(whole).samples[:, 9600:24000]
    np.testing.assert_allclose(load_audio(part).samples, expected, atol=1e-6)
    manifests = [ManifestConfig("cuts.jsonl")]
    learned = list(TokenizedCuts(DataConfig(min_len=0.1), manifests, TABLE, TOKENIZER, report=False).epoch())
    assert [one.duration for one in learned] == pytest.approx([0.6, 1.6, 1.6, 0.6])


@pytest.mark.parametrize(("rate", "most"), [(16000, 1), (24000, 1), (48000, 2)])
def test_a_file_may_lack_what_rounding_takes(folder, rate, most):
    """A sample at the file's own rate or at that of training."""
    soundfile.write("a.wav", np.zeros(rate), rate)
    for missing in (0, most, most + 1):
        write_manifest([cut_of(folder / "a.wav", 1.0 + missing / rate)])
        ((_, cut),) = checked_cuts("cuts.jsonl").good
        with nullcontext() if missing <= most else pytest.raises(ValueError, match=r"a\.wav ends 1\.000 s after"):
            assert recorded_audio(cut).num_samples == rate


def test_channels_are_each_their_own_sound(folder):
    """Two speakers on two channels: `check` measures what training reads."""
    tone = 0.3 * np.sin(np.arange(38400) / 7)
    soundfile.write("two.wav", np.stack([tone, 0.9 * tone[::-1] * (np.arange(38400) > 9600)], axis=1), 24000)
    lines = []
    for channel in (0, 1):
        line = cut_of(folder / "two.wav", 1.6, channels=2)
        line["id"] = line["supervisions"][0]["id"] = f"speaker {channel}"
        line["channel"] = line["supervisions"][0]["channel"] = channel
        line["supervisions"][0]["text"] = f"The text of speaker {channel}."
        lines.append(line)
    write_manifest(lines)
    options = CheckOptions("cuts.jsonl")
    corpus = measure_corpus(options)
    assert [u.sound.num_channels for u in corpus.utterances] == [1, 1]
    assert corpus.utterances[0].sound.digest != corpus.utterances[1].sound.digest
    assert "the same audio with different texts" not in [finding.name for finding in run_checks(corpus, options)]
    for utterance, (_, cut) in zip(corpus.utterances, checked_cuts("cuts.jsonl").good, strict=True):
        level = 20 * np.log10(np.sqrt(np.mean(load_audio(cut).samples ** 2)))
        assert utterance.sound.level_db == pytest.approx(level, abs=1e-3)


def test_what_is_clipped_is_a_share_above_zero():
    wave = np.clip(2 * np.sin(np.arange(38400) / 40), -1, 1)
    soundfile.write("loud.wav", wave, 24000)
    Path("list.tsv").write_text("a\tA loud text.\tloud.wav\n")
    options = CheckOptions("list.tsv")
    (clipped,) = (f for f in run_checks(measure_corpus(options), options) if f.name == "clipped audio")
    assert re.fullmatch(r"6\d\.\d\d% of it flat at full scale", clipped.examples[0].detail)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 1.6}, "the supervision of the cut 'a' begins at 1.6 s, behind its 1.6 s"),
        ({"text": " __ "}, "the text of 'a' is empty"),
    ],
)
def test_a_supervision_without_sound_or_text_is_a_fault(folder, change, message):
    soundfile.write("a.wav", np.zeros(38400), 24000)
    line = cut_of(folder / "a.wav", 1.6)
    line["supervisions"][0] |= change
    write_manifest([line])
    assert [fault.partition(": ")[2] for fault in checked_cuts("cuts.jsonl").faults] == [message]


def test_channels_that_cancel_each_other_out_are_heard(folder):
    """Microphones wired in opposite phase: their average is silence."""
    tone = (0.3 * np.sin(np.arange(24000) / 7)).astype(np.float32)
    soundfile.write("mono.wav", tone, 24000, subtype="FLOAT")
    soundfile.write("opposite.wav", np.stack([tone, -tone], axis=1), 24000, subtype="FLOAT")
    mono, opposite = (make_cut("a", "well", recording(folder / name)) for name in ("mono.wav", "opposite.wav"))
    assert np.array_equal(extract_features(opposite, stereo=False), extract_features(mono, stereo=False))
    assert np.array_equal(whole(opposite), tone)


@pytest.mark.parametrize(("channels", "kind", "channel"), [(1, "MonoCut", 0), (2, "MultiCut", [0, 1])])
def test_a_cut_is_all_channels_of_a_part_of_a_recording(folder, channels, kind, channel):
    soundfile.write("a.wav", np.zeros((48000, channels)), 24000)
    source = recording(folder / "a.wav")
    all_of_it, part = make_cut("u", "well", source), make_cut("u", "well", source, 0.1, 0.4, "Ann", "en")
    for cut, start, duration in ((all_of_it, 0.0, 2.0), (part, 0.1, 0.3)):
        (supervision,) = cut.supervisions
        assert (type(cut).__name__, cut.id, cut.recording.id) == (kind, "u", source.id)
        assert (cut.start, cut.duration, cut.channel) == (start, duration, channel)
        assert (supervision.id, supervision.recording_id, supervision.text) == ("u", source.id, "well")
        assert (supervision.start, supervision.duration, supervision.channel) == (0.0, duration, channel)
    assert make_cut("u", "well", source, 0.5, 0.5 + 1 / 3).duration == 0.33333333
    assert [(cut.supervisions[0].speaker, cut.supervisions[0].language) for cut in (all_of_it, part)] == [
        (None, None),
        ("Ann", "en"),
    ]


def test_two_speakers_have_a_channel_each_of_one_length(folder):
    for name, channels, count in (("left", 1, 24000), ("right", 1, 24000), ("both", 2, 24000), ("long", 1, 24001)):
        soundfile.write(f"{name}.wav", np.zeros((count, channels)), 24000)
    left, right, both, long = (recording(folder / f"{name}.wav") for name in ("left", "right", "both", "long"))
    assert two_channels(left, right).channel_ids == [0, 1]
    for pair in ((left, both), (both, right)):
        with pytest.raises(ValueError, match=r"both\.wav has 2 channels, expected one speaker's own"):
            two_channels(*pair)
    with pytest.raises(ValueError, match="the two channels must have the same length and sampling rate"):
        two_channels(left, long)


def test_a_value_is_shown_up_to_80_letters():
    assert shown("a" * 78) == repr("a" * 78)
    assert shown("a" * 79) == f"'{'a' * 76}..."
    assert shown(10**5000) == "a number of more than 4152 digits"


@pytest.mark.parametrize(
    ("start", "seconds", "is_whole"),
    [(0.049, 1.551, True), (0.051, 1.549, False), (0.0, 1.551, True), (0.0, 1.549, False)],
)
def test_a_twentieth_of_a_second_at_the_edges_is_part_of_an_utterance(folder, start, seconds, is_whole):
    soundfile.write("a.wav", np.zeros(38400), 24000)
    line = cut_of(folder / "a.wav", 1.6)
    line["supervisions"][0] |= {"start": start, "duration": seconds}
    write_manifest([line])
    ((_, cut),) = checked_cuts("cuts.jsonl").good
    assert (cut.duration == 1.6) == is_whole


@pytest.mark.parametrize(("end", "is_there"), [(1.609, True), (1.611, False)])
def test_the_end_of_a_segment_may_be_rounded_to_hundredths(folder, end, is_there):
    soundfile.write("a.wav", np.zeros(38400), 24000)
    Path("list.tsv").write_text(f"a\twell\ta.wav\t0.5\t{end}\n")
    checked = checked_cuts("list.tsv")
    assert [(cut.start, cut.end) for _, cut in checked.good] == ([(0.5, 1.6)] if is_there else [])
    assert is_there or f"the segment ends at {end} s, but" in checked.faults[0]


@pytest.mark.parametrize(("count", "more"), [(20, []), (21, ["... and 1 more"])])
def test_the_first_20_faults_are_told(count, more):
    faults = [f"fault {number}" for number in range(count)]
    assert listed(faults).split("\n  ") == [str(count), *faults[:20], *more]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": {"type": "file"}}, "recording.sources must be a list of objects, found {'type': 'file'}"),
        ({"sources": ["x"]}, "recording.sources must be a list of objects, found ['x']"),
        ({"transforms": {"a": 1}}, "recording.transforms must be a list of objects, found {'a': 1}"),
        ({"transforms": ["x"]}, "recording.transforms must be a list of objects, found ['x']"),
    ],
)
def test_sources_and_transforms_are_lists_of_objects(change, message):
    line = cut_of("a.wav", 1.6)
    line["recording"] |= change
    with pytest.raises(ValueError, match=re.escape(message)):
        manifest.cut_of(json.dumps(line).encode())


def test_what_describes_no_cut_or_lies_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"expected an object that describes a cut, found \['supervisions'\]"):
        manifest.cut_of(b'["supervisions"]')
    line = cut_of("a.wav", 1.6)
    with pytest.raises(ValueError, match=r"the data are of type \['file'\], and must be in the shard, \['shar'\]"):
        manifest.description_of(json.dumps(line["recording"]).encode(), "recording")
    line["recording"]["sources"][0] |= {"type": "shar", "source": ""}
    assert manifest.description_of(json.dumps(line["recording"]).encode(), "recording").num_samples == 38400
