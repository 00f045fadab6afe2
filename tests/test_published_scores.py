# SPDX-License-Identifier: Apache-2.0
"""The scores of papers: their rules on closed forms, their networks on small ones of the same layout, made here."""

import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_judges import SMALL, small_head, write_ecapa, write_hubert, write_utmos

from zipvoice.audio.files import Audio, write
from zipvoice.cli import main
from zipvoice.config.evaluation import SuiteOptions
from zipvoice.evaluation import diarization, paraformer, recognizers, suites
from zipvoice.evaluation.dialogue import (
    CpSimilarityJudge,
    CpWordErrorJudge,
    ShortOnly,
    by_parity,
    by_tags,
    cp_errors,
    parity_errors,
)
from zipvoice.evaluation.judges import WordErrorJudge
from zipvoice.evaluation.normalizers import find_normalizer
from zipvoice.evaluation.paraformer import Paraformer
from zipvoice.evaluation.provenance import JudgedBy
from zipvoice.evaluation.recognizers import Remembering, TransformersRecognizer, at_16k
from zipvoice.evaluation.scores import Expected, Score
from zipvoice.evaluation.suites import METRICS, SUITES, settled
from zipvoice.evaluation.whisper import find_whisper
from zipvoice.evaluation.word_errors import WordErrors, count_errors


def noise(seconds: float = 1.0, rate: int = 16000, seed: int = 0, level: float = 0.1) -> Audio:
    samples = level * np.random.default_rng(seed).standard_normal((1, int(rate * seconds)))
    return Audio(samples.astype(np.float32), rate)


class Ear:
    """Always hears the same."""

    def __init__(self, heard: str) -> None:
        self.by = JudgedBy("ear", "")
        self.heard, self.asked = heard, 0

    def hear(self, audio: Audio) -> str:
        self.asked += 1
        return self.heard


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("librispeech-pc", "It’s 5 o'clock -- NEARLY, café!", "it's 5 o'clock nearly caf"),
        ("seedtts-en", "Don't - - stop, Mr. X!", "don't  stop mr x"),  # three spaces are halved once
        ("seedtts-en", " Ends stay. ", " ends stay "),
        ("seedtts-zh", "你好，世界！", "你 好 世 界"),
        ("seedtts-zh", "你好 a", "你 好   a"),
        ("dialogue-en", "[S1] Well (laughs), <noise> it's  fine.[S2] OK!", "well it's fine ok"),
        ("dialogue-zh", "[S1]你好，[S2] 世界。", "你 好   世 界"),
        ("zipvoice", "It cost $5.", "it cost five dollars"),
        ("whisper", "It won't cost ten thousand dollars; colour, hmm.", "it will not cost $10000 color"),
    ],
)
def test_each_suite_has_its_rules(name, text, expected):
    assert find_normalizer(name)(text) == expected


def test_leftover_spaces_count_as_words_where_the_quirk_is_asked_for():
    expected, ear = Expected("a", "你好 吗"), Ear("你好吗")
    rule = find_normalizer("seedtts-zh")
    plain = WordErrorJudge(ear, rule)(expected, noise()).scores
    judge = WordErrorJudge(Ear("你坏吗"), rule, count_spaces=True)
    assert judge.by[-1].detail == f"{rule.about}, spaces count"
    quirk = judge(expected, noise()).scores
    assert plain["character_error_rate"] == Score(0.0, 3)
    assert quirk["character_error_rate"] == Score(1 / 5, 5)  # 你 好 "" "" 吗
    assert quirk["mean_character_error_rate"] == Score(1 / 3)


def test_tabs_and_line_ends_part_words_and_an_empty_reference_is_only_insertions():
    assert count_errors("one\ttwo\nthree", "one two three") == WordErrors(words=3)
    assert count_errors("one two", "one\ttwo\u3000three\xa0four ") == WordErrors(insertions=2, words=2)
    assert count_errors("  ", "") == WordErrors()
    assert count_errors("", "one two") == WordErrors(insertions=2)
    assert count_errors("one", "") == WordErrors(deletions=1, words=1)


# ---------------------------------------------------------------- dialogues


def test_turns_are_read_by_tag_or_by_parity():
    text = "[S1] One. [S2] Two. [S2] Three. [S1] Four."
    assert by_tags(text) == ["One. Four.", "Two. Three."]
    assert by_parity(text) == ["Two. Four.", "One. Three."]
    assert by_tags("No tag. [S2] Two.") == ["No tag.", "Two."]
    assert by_parity("No tag.") == ["No tag.", ""]


def test_cp_errors_are_those_of_the_best_assignment():
    assert cp_errors(["a b", "c d"], ["c d", "a b"]) == WordErrors(words=4)
    assert cp_errors(["a b", "c d"], ["c x", "a b"]) == WordErrors(substitutions=1, words=4)
    assert cp_errors(["a b", "c d"], ["a b"]) == WordErrors(deletions=2, words=4)
    assert cp_errors(["a b"], ["x", "a b"]) == WordErrors(insertions=1, words=2)
    assert cp_errors(["a", "b", "c"], ["c", "a", "b"]) == WordErrors(words=3)


def random_streams(number: int) -> list[tuple[list[str], list[str]]]:
    """What one to three speakers say, and what as many, more or fewer are heard to say; some say nothing."""
    random = np.random.default_rng(0)

    def streams(least: int) -> list[str]:
        return [" ".join(random.choice(list("abc"), random.integers(least, 5))) for _ in range(random.integers(1, 4))]

    return [(streams(1), streams(0)) for _ in range(number)]


def test_cp_errors_are_the_fewest_of_all_assignments():
    for reference, heard in random_streams(40):
        size = max(len(reference), len(heard))
        said, written = ([*streams, *[""] * (size - len(streams))] for streams in (reference, heard))
        fewest = min(
            sum(count_errors(a, b).errors for a, b in zip(said, order, strict=True))
            for order in itertools.permutations(written)
        )
        found = cp_errors(reference, heard)
        assert found.errors == fewest
        assert found.words == len(" ".join(reference).split())
        assert found.words - found.deletions + found.insertions == len(" ".join(heard).split())


@pytest.mark.slow
def test_cp_errors_are_those_of_meeteval():
    wer = pytest.importorskip(
        "meeteval.wer", reason="meeteval has no wheels: pip install meeteval, with a C++ compiler"
    )
    for reference, heard in random_streams(300):
        theirs = wer.cp_word_error_rate(reference, heard)
        ours = cp_errors(reference, heard)
        assert (ours.errors, ours.words) == (theirs.errors, theirs.length), (reference, heard)
        assert ours.insertions - ours.deletions == theirs.insertions - theirs.deletions


def test_the_published_count_joins_the_streams_and_takes_the_swapped_order_on_a_tie():
    assert parity_errors(["a", "b"], ["a", "b"]).errors == 0
    assert parity_errors(["a", "b"], ["b", "a"]).errors == 0
    assert parity_errors(["a b", "c"], ["a", "b c"]).errors == 0  # joined, words may change the speaker
    tie = parity_errors(["a", "b"], ["c", "b a"])
    assert tie == count_errors("a b", "b a c")


def test_words_given_to_the_wrong_speaker_are_errors_by_tags():
    expected = Expected("d", "one two [S2] three")
    rule = find_normalizer("dialogue-en")
    heard = Ear("one [S2] two three")
    assert CpWordErrorJudge(heard, rule)(expected, noise()).scores == {"cp_word_error_rate": Score(2 / 3, 3)}
    by_turns = CpWordErrorJudge(heard, rule, by_turns=True)
    assert by_turns(expected, noise()).scores == {"cp_word_error_rate": Score(0.0, 3)}


def test_long_dialogues_are_left_out_where_the_quirk_is_asked_for():
    judge = ShortOnly(WordErrorJudge(Ear("one"), find_normalizer("dialogue-en")))
    assert judge(Expected("a", "one"), noise(31)).scores == {}
    assert "word_error_rate" in judge(Expected("a", "one"), noise(30)).scores
    assert judge.by[-1].model == "only recordings up to 30 s"


def test_a_recogniser_hears_a_recording_once_for_all_judges():
    ear = Ear("one")
    both, first, second = Remembering(ear), noise(), noise()
    assert [both.hear(a) for a in (first, first, second)] == ["one"] * 3
    assert ear.asked == 2


class ByLevel:
    """A voice encoder: the louder, the further round."""

    by = (JudgedBy("by level", ""),)

    def embed(self, audio: Audio) -> np.ndarray:
        if audio.num_samples < 100:
            raise ValueError("too short")
        angle = float(np.abs(audio.samples).max())
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


class Parted:
    """A diarizer that is told who speaks when."""

    by = JudgedBy("told", "")

    def __init__(self, spans) -> None:
        self.spans = spans

    def __call__(self, audio: Audio):
        assert audio.sampling_rate == 16000
        return self.spans


def steps(*levels: float) -> Audio:
    """Half a second of a square wave of each level."""
    signs = np.tile([1, -1], 4000)
    return Audio(np.concatenate([level * signs for level in levels]).astype(np.float32)[None], 16000)


def test_both_voices_are_compared_whoever_is_called_the_first(tmp_path):
    for name, level in (("one", 0.1), ("two", 0.6)):
        write(tmp_path / f"{name}.wav", steps(level))
    expected = Expected("d", "d", (tmp_path / "one.wav", tmp_path / "two.wav"))
    spans = [[(0.0, 0.25), (0.25, 0.5)], [(0.5, 1.0)]]
    judge = CpSimilarityJudge(ByLevel(), Parted(spans), [expected])
    same = judge(expected, steps(0.1, 0.6)).scores["cp_similarity"].value
    swapped = judge(expected, steps(0.6, 0.1)).scores["cp_similarity"].value
    assert (same, swapped) == pytest.approx((1.0, 1.0), abs=1e-3)
    other = judge(expected, steps(0.1, 0.9)).scores["cp_similarity"].value
    assert other == pytest.approx((1 + np.cos(0.3)) / 2, abs=1e-3)
    with pytest.raises(ValueError, match="cp_similarity needs a list with recordings of both voices"):
        CpSimilarityJudge(ByLevel(), Parted(spans), [Expected("d", "d")])
    long = CpSimilarityJudge(ByLevel(), Parted([[(0.0, 60.0)], [(60.0, 121.0)]]), [expected])
    first_two_minutes = long(expected, steps(*[0.1] * 120, *[0.6] * 120, 0.9)).scores["cp_similarity"].value
    assert first_two_minutes == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("spans", [[[(0.0, 1.0)], []], [[(0.0, 1.0)], [(0.5, 0.501)]], [[(0.0, 1.0)]]])
def test_speakers_that_cannot_be_parted_are_told_and_all_stands_for_both(tmp_path, caplog, spans):
    for name, level in (("one", 0.1), ("two", 0.6)):
        write(tmp_path / f"{name}.wav", steps(level))
    expected = Expected("d", "d", (tmp_path / "one.wav", tmp_path / "two.wav"))
    found = CpSimilarityJudge(ByLevel(), Parted(spans), [expected])(expected, steps(0.1, 0.6))
    assert found.scores["cp_similarity"].value == pytest.approx((np.cos(0.5) + 1) / 2, abs=1e-3)
    assert "d: two speakers cannot be told apart" in caplog.text


# ---------------------------------------------------------------- suites


def test_every_suite_is_settled_and_has_known_metrics():
    for name in SUITES:
        found = settled(name, SuiteOptions())
        assert set(found.metrics) <= set(METRICS), name


@pytest.mark.parametrize(
    ("metric", "quirks", "is_long_scored", "how"),
    [
        ("wer", "none", True, None),
        ("wer", "skip-over-30s", False, "only recordings up to 30 s"),
        ("cpwer", "none", True, "cpWER, speakers by tags"),
        ("cpwer", "turn-parity", True, "cpWER, turns alternate"),
        ("cpwer", "skip-over-30s", False, "only recordings up to 30 s"),
    ],
)
def test_judges_of_words_have_the_quirks_that_are_asked_for(monkeypatch, metric, quirks, is_long_scored, how):
    text = "[S1] one [S2] two"
    monkeypatch.setitem(suites.RECOGNIZERS, "whisper", lambda options: Ear(text))
    monkeypatch.setattr(suites, "_recognizer", suites._recognizer.__wrapped__)
    (judge,) = suites.make_judges(settled("offline", SuiteOptions(metrics=(metric,), quirks=(quirks,))), [])
    scored = [bool(judge(Expected("a", text), noise(seconds)).scores) for seconds in (30, 30.1)]
    assert scored == [True, is_long_scored]
    assert how is None or any(how in (by.model, by.detail) for by in judge.by)


def test_published_figures_stand_beside_those_of_result_files(tmp_path, capsys):
    lines = [
        {"format": "zipvoice-scores-1", "judges": [], "by": []},
        *(
            {
                "key": [],
                "name": f"r{n}",
                "speaker": "",
                "path": f"r{n}.wav",
                "text": "",
                "heard": "",
                "seconds": 1.0,
                "scores": {"word_error_rate": [rate, 10], "utmos": [4.0, 1]},
            }
            for n, rate in enumerate((0.0, 0.1))
        ),
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    command = ["evaluate", "--reproduce", str(tmp_path / "mine.jsonl"), "--suite"]
    assert main([*command, "librispeech-pc"]) == 0
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert shown[0] == ["", "ZipVoice, 16 steps (published)", "distilled, 4 steps (published)", "mine"]
    assert shown[2:] == [
        ["word error rate", "1.64 %", "1.51 %", "5.00 %"],
        ["SIM-o", "0.668", "0.657", ""],
        ["UTMOS", "3.98", "4.05", "4.00"],
    ]
    assert main([*command, "offline"]) == 1
    assert "no published figures" in capsys.readouterr().err


def test_a_command_without_list_or_folders_says_what_to_give(capsys):
    assert main(["evaluate"]) == 1
    assert "zipvoice evaluate LIST FOLDER..." in capsys.readouterr().err


def test_missing_files_name_the_download(tmp_path, capsys):
    write(tmp_path / "f" / "a.wav", noise())
    (tmp_path / "list.tsv").write_text(f"a\tone\t{tmp_path / 'f' / 'a.wav'}\tone\n", encoding="utf-8")
    command = ["evaluate", str(tmp_path / "list.tsv"), str(tmp_path / "f"), "--models", str(tmp_path / "models")]
    for suite, metric in (
        ("seedtts-en", "wer"),
        ("seedtts-zh", "wer"),
        ("seedtts-en", "utmos"),
        ("seedtts-en", "sim_o"),
    ):
        assert main([*command, "--suite", suite, "--metrics", metric]) == 1
        shown = capsys.readouterr().err
        assert f"hf download k2-fsa/TTS_eval_models --local-dir {tmp_path / 'models'}" in shown
    assert main([*command, "--metrics", "utmosv2"]) == 1
    assert "hf download sarulab-speech/UTMOSv2 fold0_s42_best_model.pth" in capsys.readouterr().err


def test_recordings_are_heard_at_16_khz_by_filter_or_by_spectrum():
    pytest.importorskip("scipy.signal")
    time = np.arange(24001) / 24000
    tone = Audio(np.float32([0.5 * np.sin(2 * np.pi * 440 * time)] * 2), 24000)
    found = [at_16k(tone, fourier) for fourier in (False, True)]
    for wave, count, rate in zip(found, (16001, 16000), (16000, 16000 * 24000 / 24001), strict=True):
        expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)
        np.testing.assert_allclose(wave[400:-400], expected[400:-400], atol=0.01)
    assert np.array_equal(at_16k(noise(), fourier=True), noise().samples[0])
    with pytest.raises(ValueError, match="silent"):
        at_16k(noise(level=0.0))


@pytest.mark.parametrize(
    ("settings", "seconds", "is_asked"),
    [({"language": "en"}, 30, True), ({"language": "en", "chunked": True}, 31, True), ({}, 31, False)],
)
def test_a_pipeline_searches_greedily_and_hears_its_length(monkeypatch, tmp_path, settings, seconds, is_asked):
    pytest.importorskip("torch")
    made, heard = [], []
    config = SimpleNamespace(suppress_tokens=[1])

    def pipeline(task, **given):
        def hear(sound, **asked):
            heard.append((len(sound["raw"]), sound["sampling_rate"], asked))
            return {"text": "well"}

        hear.model = SimpleNamespace(generation_config=config)
        made.append((task, given))
        return hear

    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(pipeline=pipeline))
    monkeypatch.setattr(recognizers, "version", lambda name: "5")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    recognizer = TransformersRecognizer(tmp_path, **settings)
    assert recognizer.hear(noise(31)) == "well"
    greedy = {"generate_kwargs": {"language": "en", "task": "transcribe", "num_beams": 1}}
    assert heard == [(seconds * 16000, 16000, greedy if is_asked else {})]
    ((task, given),) = made
    assert (task, given["model"], given["device"]) == ("automatic-speech-recognition", str(tmp_path), "cpu")
    is_chunked = "chunked" in settings
    assert (given.get("chunk_length_s"), config.suppress_tokens) == ((30, None) if is_chunked else (None, [1]))
    assert recognizer.by.detail == "transformers 5, greedy"
    chinese = TransformersRecognizer(tmp_path, **{**settings, "language": "zh"})
    assert chinese.by.detail == "transformers 5, greedy, zh"  # or kept scores would pass for those of another language


def test_networks_of_a_pipeline_are_found_around_its_file(tmp_path):
    models, folder = tmp_path, tmp_path / "pyannote" / "pipeline"
    for path in (folder / "a.bin", folder.parent / "b" / "pytorch_model.bin", models / "c.bin", folder / "d.bin"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    config = folder / "config.yaml"
    found = [diarization._found(name, config, models) for name in ("a.bin", "$model/b", "c.bin", "else/where/d.bin")]
    assert found == [folder / "a.bin", folder.parent / "b" / "pytorch_model.bin", models / "c.bin", folder / "d.bin"]
    with pytest.raises(FileNotFoundError, match=r"config\.yaml names e\.bin, which is not in"):
        diarization._found("e.bin", config, models)
    first, second = diarization.NETWORKS
    written = {"pipeline": {"name": "p", "params": {first: "a.bin", second: "$model/b", "plda": "c.bin", "more": 3}}}
    config.write_text(json.dumps(written))
    params = diarization._config(config, models, "given")["pipeline"]["params"]
    assert params == {first: str(found[0]), second: str(found[1]), "plda": str(found[2]), "more": 3}
    del written["pipeline"]["params"]["plda"]
    config.write_text(json.dumps(written))
    assert diarization._config(config, models, "given")["pipeline"]["params"]["plda"] == "given"


def test_two_speakers_are_given_in_order_and_missing_ones_are_silent():
    def parted(*spans):
        tracks = [(SimpleNamespace(start=start, end=end), None, speaker) for start, end, speaker in spans]
        found = SimpleNamespace(speaker_diarization=SimpleNamespace(itertracks=lambda yield_label: tracks))
        diarizer = object.__new__(diarization.PyannoteDiarizer)
        diarizer._pipeline = lambda heard, num_speakers: found if num_speakers == 2 else None
        return diarizer(noise())

    pytest.importorskip("torch")
    assert parted((0, 1, "B"), (1, 2, "A"), (3, 4, "B")) == [[(1, 2)], [(0, 1), (3, 4)]]
    assert parted((0, 1, "A")) == [[(0, 1)], []]
    assert parted() == [[], []]


def test_paraformer_is_heard_in_simplified_characters(monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"graph")

    class Graph:
        def __init__(self, folder):
            assert folder == str(tmp_path)

        def __call__(self, wave):
            assert wave.shape == (16000,)
            return [{"preds": ("漢語 說", ["漢", "語", "說"])}] if wave.std() > 0.01 else []

    monkeypatch.setitem(sys.modules, "funasr_onnx", SimpleNamespace(Paraformer=Graph))
    monkeypatch.setattr(paraformer, "version", lambda name: "0.4.3")
    assert Paraformer(tmp_path).hear(noise(rate=24000)) == "汉语 说"
    assert Paraformer(tmp_path).hear(noise(rate=24000, level=0.001)) == ""
    with pytest.raises(ValueError, match="silent"):
        Paraformer(tmp_path).hear(Audio(np.zeros((1, 16000), np.float32), 16000))


# ---------------------------------------------------------------- small networks of the published layouts


def ecapa_by_the_table(torch, state: dict, hidden):
    """The network of SIM-o as its table says it, part by part, in plain functions."""
    F = torch.nn.functional

    def conv(x, name, **settings):
        return F.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], **settings)

    def bn(x, name):
        view = (1, -1, 1) if x.dim() == 3 else (1, -1)
        w, b, m, v = (state[f"{name}.{k}"].view(view) for k in ("weight", "bias", "running_mean", "running_var"))
        return (x - m) / torch.sqrt(v + 1e-5) * w + b

    x = sum(w * h for w, h in zip(torch.softmax(state["feature_weight"], 0), hidden, strict=True)).transpose(1, 2)
    x = x + 1e-6
    x = (x - x.mean(2, keepdim=True)) / torch.sqrt(x.var(2, keepdim=True, unbiased=False) + 1e-5)
    x = bn(torch.relu(conv(x, "layer1.conv", padding=2)), "layer1.bn")
    outs = []
    for dilation, name in ((2, "layer2"), (3, "layer3"), (4, "layer4")):
        y = bn(torch.relu(conv(x, f"{name}.Conv1dReluBn1.conv")), f"{name}.Conv1dReluBn1.bn")
        parts, done = y.split(4, dim=1), []
        for i in range(3):
            into = parts[i] if i == 0 else parts[i] + done[-1]
            z = torch.relu(conv(into, f"{name}.Res2Conv1dReluBn.convs.{i}", padding=dilation, dilation=dilation))
            done.append(bn(z, f"{name}.Res2Conv1dReluBn.bns.{i}"))
        y = torch.cat([*done, parts[3]], dim=1)
        y = bn(torch.relu(conv(y, f"{name}.Conv1dReluBn2.conv")), f"{name}.Conv1dReluBn2.bn")
        linear = [
            (state[f"{name}.SE_Connect.linear{n}.weight"], state[f"{name}.SE_Connect.linear{n}.bias"]) for n in (1, 2)
        ]
        gate = torch.sigmoid(F.linear(torch.relu(F.linear(y.mean(2), *linear[0])), *linear[1]))
        x = x + y * gate[:, :, None]
        outs.append(x)
    x = torch.relu(conv(torch.cat(outs, 1), "conv"))
    alpha = torch.softmax(conv(torch.tanh(conv(x, "pooling.linear1")), "pooling.linear2"), 2)
    mean = (alpha * x).sum(2)
    std = torch.sqrt(((alpha * x * x).sum(2) - mean * mean).clamp(min=1e-9))
    return F.linear(bn(torch.cat([mean, std], 1), "bn"), state["linear.weight"], state["linear.bias"])


def test_the_network_above_wavlm_is_that_of_its_table():
    torch = pytest.importorskip("torch")
    from zipvoice.evaluation.wavlm_ecapa import ecapa

    head = small_head(torch, num_states=3, width=32)
    hidden = torch.randn(3, 2, 40, 32, generator=torch.Generator().manual_seed(0)).double()
    network = ecapa(head | {"feature_extract.model.mask_emb": torch.zeros(3)}).double()
    double = {name: value.double() for name, value in head.items()}  # in which the order of sums is not seen
    with torch.no_grad():
        torch.testing.assert_close(network(hidden), ecapa_by_the_table(torch, double, hidden))


def test_sim_o_hears_two_minutes_at_one_level(monkeypatch):
    torch = pytest.importorskip("torch")
    from zipvoice.evaluation import wavlm_ecapa

    heard = []
    monkeypatch.setattr(wavlm_ecapa, "hidden_states", lambda network, wave: heard.append(wave))
    encoder = object.__new__(wavlm_ecapa.WavlmEcapa)
    encoder._device, encoder._wavlm, encoder._ecapa = "cpu", None, lambda hidden: torch.tensor([[3.0, 4.0]])
    for seconds, rate in ((119, 16000), (121, 16000), (1, 24000)):
        assert encoder.embed(noise(seconds, rate)) == pytest.approx([0.6, 0.8])
    assert [wave.shape for wave in heard] == [(1, 119 * 16000), (1, 120 * 16000), (1, 16000)]
    assert [float(wave.std()) for wave in heard] == pytest.approx([1, 1, 1], abs=1e-3)
    with pytest.raises(ValueError, match="silent"):
        encoder.embed(noise(1, level=0.0))


@pytest.mark.slow  # loads transformers
def test_sim_o_loads_the_published_layout_and_computes_its_table(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from zipvoice.evaluation.wavlm_ecapa import WavlmEcapa

    network, head = write_ecapa(torch, transformers, tmp_path)
    audio = noise(1.3)
    found = WavlmEcapa(tmp_path).embed(audio)
    wave = torch.from_numpy(audio.samples)
    wave = (wave - wave.mean()) / torch.sqrt(wave.var(unbiased=False) + 1e-5)
    with torch.no_grad():
        out = network(wave, output_hidden_states=True)
        *hidden, before_norm = out.hidden_states
        assert len(hidden) == 2
        assert not torch.equal(before_norm, out.last_hidden_state)
        expected = ecapa_by_the_table(torch, head, [*hidden, out.last_hidden_state])[0]
    expected = expected / expected.norm()
    assert found == pytest.approx(expected.numpy(), abs=2e-5)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    louder = Audio(audio.samples * np.float32(4), 16000)
    assert float(WavlmEcapa(tmp_path).embed(louder) @ found) == pytest.approx(1, abs=1e-4)


def test_utmos_is_its_formula_of_features(monkeypatch):
    torch = pytest.importorskip("torch")
    from zipvoice.evaluation import utmos

    torch.manual_seed(0)
    features, domain, judge = torch.randn(1, 9, 8), torch.randn(1, 4), torch.randn(1, 3)
    lstm = torch.nn.LSTM(8 + 4 + 3, 6, batch_first=True, bidirectional=True)
    first, last = torch.nn.Linear(12, 20), torch.nn.Linear(20, 1)
    state = {"wav2vec2.mask_emb": torch.zeros(8), "domain_emb": domain, "judge_emb": judge}
    for root, part in (("blstm", lstm), ("projection.2", first), ("projection.10", last)):
        state |= {f"{root}.{key}": weight for key, weight in part.state_dict().items()}
    given = []
    monkeypatch.setattr(
        utmos, "wav2vec2", lambda part: given.append(part) or (lambda wave: SimpleNamespace(last_hidden_state=features))
    )
    with torch.no_grad():
        frames = torch.cat([features[0], domain.repeat(9, 1), judge.repeat(9, 1)], dim=1)
        expected = 2 * last(torch.relu(first(lstm(frames[None])[0]))).mean() + 3
        torch.testing.assert_close(utmos.UtmosNetwork(state)(torch.zeros(1, 100)), expected[None])
    assert list(given[0]) == ["mask_emb"]


@pytest.mark.slow
def test_utmos_loads_the_published_layout_and_computes_its_formula(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from zipvoice.evaluation.utmos import Utmos

    network, domain, judge, lstm, first, last = write_utmos(torch, transformers, tmp_path)
    audio = noise(0.8)
    with torch.no_grad():
        features = network(torch.from_numpy(audio.samples)).last_hidden_state[0]
        frames = torch.cat([features, domain.repeat(len(features), 1), judge.repeat(len(features), 1)], dim=1)
        expected = 2 * last(torch.relu(first(lstm(frames[None])[0]))).mean() + 3
    utmos = Utmos(tmp_path)
    assert utmos.predict(audio) == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(ValueError, match="silent"):
        utmos.predict(Audio(np.zeros((1, 16000), np.float32), 16000))


def small_efficientnet(torch, generator) -> dict:
    """Random weights under the names of timm: six stages, of which the first three widen by their kernel."""
    shapes = {"conv_stem": (8, 3, 3, 3), "conv_head": (16, 12, 1, 1)}
    norms = {"bn1": 8, "bn2": 16}
    shapes["blocks.0.0.conv"], norms["blocks.0.0.bn1"] = (8, 8, 3, 3), 8
    for stage in (1, 2):
        at = f"blocks.{stage}.0"
        shapes |= {f"{at}.conv_exp": (12, 8, 3, 3), f"{at}.conv_pwl": (8, 12, 1, 1)}
        norms |= {f"{at}.bn1": 12, f"{at}.bn2": 8}
    for at, wide in (("blocks.3.0", 8), ("blocks.3.1", 12), ("blocks.4.0", 12), ("blocks.5.0", 12)):
        shapes |= {f"{at}.conv_pw": (16, wide, 1, 1), f"{at}.conv_dw": (16, 1, 3, 3), f"{at}.conv_pwl": (12, 16, 1, 1)}
        norms |= {f"{at}.bn1": 16, f"{at}.bn2": 16, f"{at}.bn3": 12}
        shapes |= {f"{at}.se.conv_reduce": (4, 16, 1, 1), f"{at}.se.conv_expand": (16, 4, 1, 1)}
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) / np.sqrt(np.prod(shape[1:]))
        if ".se." in name:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    for name, size in norms.items():
        state |= {f"{name}.{key}": 0.5 + torch.rand(size, generator=generator) for key in ("weight", "running_var")}
        state |= {f"{name}.{key}": 0.1 * torch.randn(size, generator=generator) for key in ("bias", "running_mean")}
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)
    return state


def efficientnet_by_kinds(torch, state: dict, x):
    """The same network, each kind of block written out."""
    F = torch.nn.functional

    def conv(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        if weight.shape[2] == 3:  # even sizes: with stride 2 a row and a column behind, none before
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, groups=groups)

    def bn(x, name):
        w, b, m, v = (state[f"{name}.{k}"][:, None, None] for k in ("weight", "bias", "running_mean", "running_var"))
        return (x - m) / torch.sqrt(v + 1e-3) * w + b

    x = F.silu(bn(conv(x, "conv_stem", 2), "bn1"))
    x = x + F.silu(bn(conv(x, "blocks.0.0.conv"), "blocks.0.0.bn1"))
    for at in ("blocks.1.0", "blocks.2.0"):
        y = F.silu(bn(conv(x, f"{at}.conv_exp", 2), f"{at}.bn1"))
        x = bn(conv(y, f"{at}.conv_pwl"), f"{at}.bn2")
    for at, stride in (("blocks.3.0", 2), ("blocks.3.1", 1), ("blocks.4.0", 1), ("blocks.5.0", 2)):
        y = F.silu(bn(conv(x, f"{at}.conv_pw"), f"{at}.bn1"))
        y = F.silu(bn(conv(y, f"{at}.conv_dw", stride, groups=16), f"{at}.bn2"))
        gate = conv(F.silu(conv(y.mean((2, 3), keepdim=True), f"{at}.se.conv_reduce")), f"{at}.se.conv_expand")
        y = bn(conv(y * torch.sigmoid(gate), f"{at}.conv_pwl"), f"{at}.bn3")
        x = y if stride == 2 else x + y
    return F.silu(bn(conv(x, "conv_head"), "bn2"))


def test_efficientnet_is_the_same_with_each_kind_of_block_written_out():
    torch = pytest.importorskip("torch")
    from zipvoice.evaluation.efficientnet import EfficientNet

    generator = torch.Generator().manual_seed(5)
    state = small_efficientnet(torch, generator)
    picture = torch.randn(2, 3, 64, 96, generator=generator)
    with torch.no_grad():
        features = EfficientNet(state).eval()(picture)
        assert features.shape == (2, 16, 2, 3)
        torch.testing.assert_close(features, efficientnet_by_kinds(torch, state, picture), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("count", "last"), [(47999, 47998), (48000, 47999), (48001, 0), (48003, 2)])
def test_utmosv2_takes_pieces_of_one_length_from_anywhere_and_repeats_what_is_shorter(count, last):
    pytest.importorskip("torch")
    from zipvoice.evaluation.utmosv2 import piece

    pieces = [piece(np.arange(count), 3.0, np.random.RandomState(seed)) for seed in range(30)]
    assert {len(one) for one in pieces} == {48000}
    assert all(np.array_equal(one, (one[0] + np.arange(48000)) % count) for one in pieces)
    starts = {int(one[0]) for one in pieces}
    assert max(starts) <= last and len(starts) == (last + 1 if last < 3 else 30)


def mean_attention(torch, state: dict, root: str, x):
    """Eight heads, the mean over places: (1, T, D) -> (1, D)."""
    weight, bias = state[f"{root}.in_proj_weight"], state[f"{root}.in_proj_bias"]
    q, k, v = (part.unflatten(2, (8, -1)).transpose(1, 2) for part in (x @ weight.T + bias).chunk(3, dim=2))
    mixed = torch.softmax(q @ k.transpose(2, 3) / np.sqrt(q.shape[3]), dim=3) @ v
    out = mixed.transpose(1, 2).flatten(2) @ state[f"{root}.out_proj.weight"].T + state[f"{root}.out_proj.bias"]
    return out.mean(dim=1)


def small_utmosv2(torch, nets: list) -> dict:
    """Random weights of UTMOSv2 above wav2vec 2.0 and with small networks for pictures."""
    state = {f"spec_long.backbones.{n}.{name}": w for n, net in enumerate(nets) for name, w in net.items()}
    for root in ("ssl.attn.0", "spec_long.attn"):
        attention = torch.nn.MultiheadAttention(32, 8)
        state |= {f"{root}.{name}": weight + 0.1 for name, weight in attention.state_dict().items()}
    state |= {"ssl.weights": torch.tensor([0.5, -0.2, 0.9]), "spec_long.weights": torch.tensor([0.1, 0.4, 0.2, 0.3])}
    return state | {"fc.weight": 0.3 * torch.randn(1, 64 + 10 + 64 + 10 + 10), "fc.bias": torch.tensor([3.0])}


def utmosv2_opinion(torch, state: dict, nets: list, hidden, seen) -> float:
    """What the formula of UTMOSv2 makes of hidden states (1, T, D) each and of pictures (pieces * windows, 3, H, W)."""
    x = sum(w * h for w, h in zip(state["ssl.weights"], hidden, strict=True))
    views = [mean_attention(torch, state, "ssl.attn.0", x), x.max(dim=1).values, torch.zeros(1, 10)]
    pieces = [
        sum(
            state["spec_long.weights"][n] * efficientnet_by_kinds(torch, net, seen[None, 4 * place + n])
            for n, net in enumerate(nets)
        )
        for place in (0, 1)
    ]
    x = torch.cat(pieces, dim=3)
    x = torch.cat([x.mean(3), x.max(3).values], dim=1).transpose(1, 2)
    views += [mean_attention(torch, state, "spec_long.attn", x), x.max(dim=1).values, torch.zeros(1, 10)]
    views += [torch.eye(10)[1:2]]
    return float(torch.cat(views, dim=1) @ state["fc.weight"].T + state["fc.bias"])


def test_utmosv2_is_its_formula_of_what_is_heard_and_seen(monkeypatch):
    torch = pytest.importorskip("torch")
    from zipvoice.evaluation import utmosv2

    torch.manual_seed(0)
    nets = [small_efficientnet(torch, torch.Generator().manual_seed(n)) for n in range(4)]
    state, hidden, seen = small_utmosv2(torch, nets), torch.randn(3, 1, 7, 32), torch.randn(8, 3, 64, 64)
    waves = []
    monkeypatch.setattr(utmosv2, "wav2vec2", lambda part: None)
    monkeypatch.setattr(utmosv2, "hidden_states", lambda network, wave: waves.append(wave) or hidden)
    with torch.no_grad():
        found = utmosv2.UtmosV2Network(state).eval()(torch.randn(1, 500) * 3 + 1, seen[None])
        assert found.item() == pytest.approx(utmosv2_opinion(torch, state, nets, hidden, seen), abs=1e-4)
    assert (waves[0].mean().item(), waves[0].std().item()) == pytest.approx((0, 1), abs=2e-3)


@pytest.mark.slow  # loads transformers, and librosa to compile
def test_utmosv2_loads_the_published_layout_and_computes_its_formula(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from zipvoice.evaluation import utmosv2

    monkeypatch.setattr(utmosv2, "PICTURE", 64)
    monkeypatch.setattr(utmosv2, "DRAWS", 2)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    sizes = SMALL | {"num_attention_heads": 1}
    network = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes, attn_implementation="eager")).eval()
    nets = [small_efficientnet(torch, generator) for _ in range(4)]
    state = small_utmosv2(torch, nets) | {
        f"ssl.encoder.model.{name}": weight for name, weight in network.state_dict().items()
    }
    (tmp_path / utmosv2.WEIGHTS).parent.mkdir(parents=True)
    torch.save(state, tmp_path / utmosv2.WEIGHTS)

    audio = noise(2.0)
    found = utmosv2.UtmosV2(tmp_path)
    random, opinions = np.random.RandomState(0), []
    for _ in range(2):
        heard = utmosv2.piece(audio.samples[0], 3.0, random)
        assert len(heard) == 48000
        assert (heard[:16000] == heard[32000:]).all()  # two seconds, repeated
        seen = utmosv2.pictures(audio.samples[0], random)
        with torch.no_grad():
            wave = torch.from_numpy((heard - heard.mean()) / np.sqrt(heard.var() + 1e-7))[None]
            out = network(wave, output_hidden_states=True)
            opinions.append(utmosv2_opinion(torch, state, nets, out.hidden_states, seen))
    assert found.predict(audio) == pytest.approx(np.mean(opinions), abs=1e-4)
    assert found.predict(audio) == found.predict(audio)
    assert found.by[0].model == "UTMOSv2"
    with pytest.raises(ValueError, match="silent"):
        found.predict(Audio(np.zeros((1, 16000), np.float32), 16000))


def test_weights_that_do_not_fit_or_hide_code_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    from zipvoice.evaluation.fairseq_weights import read_checkpoint

    torch.save({"model": Path}, tmp_path / "code.pt")
    with pytest.raises(Exception, match="weights_only"):
        read_checkpoint(tmp_path / "code.pt")


@pytest.mark.slow
def test_hubert_hears_what_its_frames_spell(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "hubert"
    network = write_hubert(torch, transformers, folder)
    audio = noise(0.7, rate=24000)
    heard = TransformersRecognizer(folder)
    assert (heard.by.model, len(heard.by.sha256)) == ("hubert", 64)
    from zipvoice.audio.files import resample

    wave = resample(audio, 16000).samples
    wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.no_grad():
        best = network(torch.from_numpy(wave)).logits[0].argmax(dim=1).tolist()
    spelled = "".join("__ ABC"[token] for token, _ in itertools.groupby(best)).replace("_", "")
    assert heard.hear(audio).split() == spelled.split()
    assert spelled.split()


@pytest.mark.slow
def test_whisper_of_transformers_is_told_language_and_task_and_hears_the_first_30_seconds(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    carried = find_whisper().folder  # for its tokenizer
    start, english, transcribe, no_times, end = 50258, 50259, 50359, 50363, 50257
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(0)
    network = transformers.WhisperForConditionalGeneration(config).eval()
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    network.generation_config = transformers.GenerationConfig(
        is_multilingual=True,
        lang_to_id={"<|en|>": english},
        task_to_id={"transcribe": transcribe},
        no_timestamps_token_id=no_times,
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        max_length=14,
    )
    tokenizer = transformers.WhisperTokenizer.from_pretrained(carried)
    folder = tmp_path / "whisper-large-v3"
    network.save_pretrained(folder)
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)

    audio = noise(31)
    mel = transformers.WhisperFeatureExtractor()(audio.samples[0, : 30 * 16000], sampling_rate=16000).input_features
    ids = [start, english, transcribe, no_times]
    with torch.no_grad():
        while len(ids) < 14 and ids[-1] != end:
            logits = network(torch.from_numpy(np.stack(mel)), decoder_input_ids=torch.tensor([ids])).logits
            ids.append(int(logits[0, -1].argmax()))
    heard = TransformersRecognizer(folder, language="en").hear(audio)
    expected = tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert expected
    assert heard.strip().startswith(expected)  # transformers adds the length of the prompt to max_length
