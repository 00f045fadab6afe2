# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import LETTERS, TINY

from zipvoice.config.data import DataConfig
from zipvoice.config.training import RunConfig
from zipvoice.data.collate import Batch
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.objectives import BASE_MASK, DIALOG_MASK, ConditionMask, FlowMatching, StereoFlowMatching
from zipvoice.training.observation import memory
from zipvoice.training.observation.diagnostics import diagnose, first_non_finite, observed, table
from zipvoice.training.observation.memory import (
    Trial,
    Trials,
    available_bytes,
    hardest,
    largest_duration,
    largest_fitting,
    longest_permitted,
    scan,
)
from zipvoice.training.precision import Precision

LAYER = "fm_decoder.encoders.0.layers.0"
OBJECTIVE = FlowMatching(ConditionMask(BASE_MASK, "span"))


def new_model(variant="zipvoice"):
    torch.manual_seed(0)
    return ZipVoice(TINY, LETTERS.vocabulary, variant)


def batch_of(*lengths, num_channels=1, num_tokens=4, name="utterance"):
    generator = torch.Generator().manual_seed(sum(lengths))
    features = torch.randn(len(lengths), max(lengths), 100 * num_channels, generator=generator)
    ids = [f"{name}-{i}" for i in range(len(lengths))]
    return Batch(features, torch.tensor(lengths), [[1] * num_tokens for _ in lengths], ids, [""] * len(lengths))


def generator():
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def weights_of(model):
    return {name: p.clone() for name, p in model.state_dict().items()}


def num_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def find(model, *batches, **more):
    return first_non_finite(model, OBJECTIVE, batches, generator(), **more)


# ---------------------------------------------------------------- statistics


def test_statistics_are_those_of_the_values_themselves():
    model, batches = new_model(), [batch_of(30, 20), batch_of(25, 25)]
    given, gradients = [], []

    def see(what, name, tensor):
        if name == f"{LAYER}.norm" and what != "input":
            (given if what == "output" else gradients).append(tensor.clone())

    with observed(model, see):
        draws = generator()
        for batch in batches:
            OBJECTIVE(model, batch, draws).value.backward()
    weight_gradients = model.embed.weight.grad.clone()
    model.zero_grad(set_to_none=True)
    found = {(s.name, s.what): s for s in diagnose(model, OBJECTIVE, batches, generator())}
    for what, tensors in (("output", given), ("gradient", gradients)):
        values, statistics = torch.cat([x.flatten() for x in tensors]), found[f"{LAYER}.norm", what]
        assert len(tensors) == 2
        assert statistics.count == values.numel() == (2 * 30 + 2 * 25) * 24
        assert statistics.mean == pytest.approx(float(values.mean()), abs=1e-6)
        assert statistics.abs_mean == pytest.approx(float(values.abs().mean()), rel=1e-4)
        assert statistics.rms == pytest.approx(float(values.square().mean().sqrt()), rel=1e-4)
        assert (statistics.minimum, statistics.maximum) == (values.min(), values.max())
        assert statistics.positive == pytest.approx(float((values > 0).float().mean()))
        assert statistics.norm == pytest.approx(float(torch.cat([x.norm(dim=-1).flatten() for x in tensors]).mean()))
        exact = values.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
        assert statistics.percentiles[1:4] == pytest.approx(exact, abs=0.1 * statistics.rms)
    rms = float(model.embed.weight.detach().square().mean().sqrt())
    assert found["embed.weight", "weight"].rms == pytest.approx(rms)
    # sums of two gradients against gradients of two batches
    mean = found["embed.weight", "weight gradient"].mean
    assert mean == pytest.approx(float(weight_gradients.mean()) / 2, rel=1e-3)


def test_statistics_come_in_the_order_of_the_forward_pass_and_leave_the_weights_alone():
    model = new_model()
    before, hooks = weights_of(model), num_hooks(model)
    statistics = diagnose(model, OBJECTIVE, [batch_of(20)], generator())
    names = list(dict.fromkeys(s.name for s in statistics))
    order = ["embed", "text_encoder", "fm_decoder.in_proj", LAYER, "fm_decoder.out_proj", "the model", "embed.weight"]
    assert sorted(order, key=names.index) == order
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert num_hooks(model) == hooks


def test_gradients_are_shown_as_they_are_not_as_they_were_scaled():
    scaled = Precision("fp32", "cpu")
    scaled.scale = 1024.0
    plain, found = (
        diagnose(new_model(), OBJECTIVE, [batch_of(20)], generator(), p) for p in (Precision("fp32", "cpu"), scaled)
    )
    assert {s.what for s in found} == {"output", "gradient", "weight", "weight gradient"}
    for expected, one in zip(plain, found, strict=True):
        assert one.rms == pytest.approx(expected.rms, rel=1e-4), (one.name, one.what)


def test_the_table_has_a_line_for_each_place():
    statistics = diagnose(new_model(), OBJECTIVE, [batch_of(20)], generator())
    lines = table(statistics).splitlines()
    assert len(lines) == 1 + len(statistics)
    assert " ".join(lines[0].split()) == "mean |mean| rms min 1 % 10 % 50 % 90 % 99 % max > 0 norm"
    place = next(s for s in statistics if (s.name, s.what) == ("embed.weight", "weight"))
    row = lines[1 + statistics.index(place)].split()
    assert row[:2] == ["embed.weight", "weight"]
    assert float(row[4]) == pytest.approx(place.rms, rel=0.05)


def test_no_batches_are_an_error():
    with pytest.raises(ValueError, match="no batches"):
        diagnose(new_model(), OBJECTIVE, [], generator())


# ---------------------------------------------------------------- what is not finite


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("variant", ["zipvoice", "zipvoice_dialog_stereo"])
def test_a_healthy_model_has_nothing_to_find(variant, precision):
    stereo = variant == "zipvoice_dialog_stereo"
    objective = StereoFlowMatching(ConditionMask(DIALOG_MASK, "suffix")) if stereo else OBJECTIVE
    batches = [batch_of(20, 30, num_channels=3 if stereo else 1)] * 2
    assert first_non_finite(new_model(variant), objective, batches, generator(), Precision(precision, "cpu")) is None


def test_the_module_that_makes_infinity_is_named_with_what_came_before():
    model = new_model()
    model.get_submodule(f"{LAYER}.feed_forward2").register_forward_hook(lambda _, __, y: y / 0)
    fault = find(model, batch_of(20, name="a"), batch_of(20, name="b"))
    assert (fault.what, fault.name, fault.ids) == ("output", f"{LAYER}.feed_forward2", ("a-0",))
    assert fault.before.startswith(f"the output of {LAYER}.feed_forward2.")
    assert fault.size == fault.num_values == 20 * 24
    message = (
        f"480 of 480 values are not finite in the output of {LAYER}.feed_forward2, on the utterances a-0; the last"
    )
    assert str(fault).startswith(message)


def test_infinity_between_modules_is_found_where_it_enters_the_next_one():
    model = new_model()
    encode = model.encode_text
    model.encode_text = lambda *args: encode(*args) * math.inf
    fault = find(model, batch_of(20))
    assert (fault.what, fault.name, fault.before) == ("input", "the model", "the output of text_encoder")


def test_the_first_gradient_that_is_not_finite_is_named():
    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * math.nan

    model = new_model()
    model.fm_decoder.encoders[1].register_forward_pre_hook(lambda _, args: (Careless.apply(args[0]), *args[1:]))
    fault = find(model, batch_of(20))
    assert (fault.what, fault.name) == ("gradient", f"{LAYER}.bypass")


def test_weights_and_features_are_looked_at_first():
    batch = batch_of(20, 20, 20)
    batch.features[1, 3, 7] = math.nan
    fault = find(new_model(), batch_of(20), batch)
    assert (fault.what, fault.ids, fault.num_values) == ("features", ("utterance-1",), 1)
    model = new_model()
    model.embed.weight.data[5, 2] = math.inf
    fault = find(model, batch)
    assert (fault.what, fault.name, fault.num_values) == ("weight", "embed.weight", 1)
    assert str(fault) == f"1 of {model.embed.weight.numel()} values are not finite in the weight of embed.weight"


# ---------------------------------------------------------------- memory


def test_the_hardest_batches_are_found_and_named_once():
    long, many, large = batch_of(90), batch_of(*[10] * 12), batch_of(60, 50, 40)
    wordy = batch_of(20, num_tokens=19)
    batches = [batch_of(20, 20), large, long, many, wordy]
    found = hardest(batches)
    assert found == {
        "the largest batch": large,
        "the longest utterance": long,
        "the most utterances": many,
        "the most tokens": wordy,
    }


def test_attention_needs_memory_for_each_utterance_and_the_square_of_the_longest():
    attentive, long, large = batch_of(*[50] * 4), batch_of(90), batch_of(*[10] * 25)
    texts, long_text = batch_of(20, 20, 20, num_tokens=12), batch_of(20, num_tokens=19)
    found = hardest([long_text, long, attentive, large, texts])
    assert found["the largest attention"] is attentive and found["the longest utterance"] is long
    assert found["the most tokens"] is texts


def test_the_longest_permitted_utterances_fill_a_batch():
    config = RunConfig(data=DataConfig(max_duration=65.0, max_len=20.0, stereo=True))
    batch = longest_permitted(config)
    assert batch.features.shape == (3, round(20 * 24000 / 256), 300)
    assert [len(tokens) for tokens in batch.tokens] == [500] * 3
    alone = longest_permitted(replace(config, data=DataConfig(max_duration=5.0, max_len=20.0)))
    assert alone.features.shape == (1, round(20 * 24000 / 256), 100)


def test_a_scan_takes_the_largest_batch_first_and_leaves_the_weights_alone():
    model, told = new_model(), []
    before = weights_of(model)
    attempt = Trials(model, OBJECTIVE, generator(), tell=told.append)
    trials = scan(attempt, {"small": batch_of(20), "large": batch_of(47, 30)})
    assert [trial.reason for trial in trials] == ["large", "small"] and trials == told
    assert trials[0].seconds == pytest.approx(47 * 256 / 24000)
    assert trials[0].padded_seconds == pytest.approx(2 * 47 * 256 / 24000)
    assert all(trial.error is None and trial.peak_bytes > 0 for trial in trials)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of much"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 7 bytes. Error code 12"),
    ],
)
def test_a_batch_that_does_not_fit_is_named_and_the_others_are_tried(error):
    class Hungry(FlowMatching):
        def __call__(self, model, batch, generator):
            if len(batch.ids) > 1:
                raise error
            return super().__call__(model, batch, generator)

    batches = {"large": batch_of(30, 30), "small": batch_of(20)}
    large, small = scan(Trials(new_model(), Hungry(OBJECTIVE.mask), generator()), batches)
    assert large.error == str(error).split(". ")[0] and small.error is None
    assert str(large).startswith("large: 2 utterances up to 0.3 s, 1 s with padding: OUT OF MEMORY: ")
    assert str(large).endswith("(utterances utterance-0, utterance-1)")


def test_other_errors_of_a_scan_are_not_taken_for_a_lack_of_memory():
    class Broken(FlowMatching):
        def __call__(self, model, batch, generator):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        scan(Trials(new_model(), Broken(OBJECTIVE.mask), generator()), {"any": batch_of(20)})


@pytest.mark.parametrize("each", [3, 10, 70])
@pytest.mark.parametrize("limit", [99, 100, 109, 110, 165, 5000])
def test_the_largest_number_that_fits_is_found_in_few_trials(each, limit):
    asked = []

    def peak_of(count):
        asked.append(count)
        return 100 + each * count

    found = largest_fitting(peak_of, most=40, limit=limit)
    assert found == max(0, min(40, (limit - 100) // each))
    assert len(asked) == len(set(asked)) <= 8
    assert all(count < 2 or 100 + each * count <= 1.1 * limit for count in asked)  # nothing far beyond the limit


@pytest.mark.parametrize("largest", [0, 1, 2, 5, 16, 31, 40])
def test_what_runs_out_of_memory_is_found_without_knowing_a_limit(largest):
    asked = []
    found = largest_fitting(lambda count: asked.append(count) or (count if count <= largest else None), most=40)
    assert found == largest and len(asked) <= 13


def test_peaks_that_bend_are_followed():
    """Twice as much for each from the fifth on."""
    assert largest_fitting(lambda n: 100 + 10 * n + 10 * max(0, n - 5), most=40, limit=200) == 7


def test_batches_in_trial_are_of_the_longest_utterances():
    config = RunConfig(data=DataConfig(max_duration=6.0, max_len=2.0))
    tried = []

    def attempt(reason, batch):
        tried.append((reason, batch.features.shape[:2]))
        fits = batch.features.shape[0] <= 5
        return Trial(reason, 0, 0.0, 0.0, (), 100 + len(batch.ids), None if fits else "no more")

    assert largest_duration(config, attempt) == 10.0
    frames = round(2 * 24000 / 256)
    assert tried[0] == ("trial of 0.1 s", (1, 9)) and tried[1] == ("trial of 2 s", (1, frames))
    assert {shape[1] for _, shape in tried[1:]} == {frames} and max(shape[0] for _, shape in tried) <= 30
    assert largest_duration(config, lambda reason, batch: replace(attempt(reason, batch), error="nothing")) is None


def test_more_than_may_be_in_use_does_not_fit():
    attempt = Trials(new_model(), OBJECTIVE, generator(), limit=2.0**20)
    trial = attempt("a batch", batch_of(20))
    assert trial.error == f"{trial.peak_bytes / 2**30:.2f} GiB, and 0.00 may be in use"


def test_each_trial_has_its_own_peak():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks are those of the whole process here")
    attempt = Trials(new_model(), OBJECTIVE, generator())
    before, large, after = (attempt("", batch_of(*[length] * 4)).peak_bytes for length in (10, 900, 10))
    assert large - before > 2**26 and large - after > 2**26
    assert before < available_bytes()


@pytest.mark.parametrize(("most", "free"), [("4096000\n", [3000]), ("max\n", []), (None, [])])
def test_a_container_may_leave_less_than_the_machine(tmp_path, most, free):
    if most:
        (tmp_path / "memory.max").write_text(most)
    (tmp_path / "memory.current").write_text("1024000\n")
    assert memory._free_in_container(tmp_path) == free


def test_a_share_of_what_is_left_may_be_used(monkeypatch):
    monkeypatch.setattr(memory, "_free_in_container", lambda: [1000])
    own = memory._kilobytes(Path("/proc/self/status"))["VmRSS"]
    assert available_bytes() == pytest.approx(1024 * (own + 1000), rel=0.05)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    assert memory.memory_limit(torch.device("cpu")) == 800
    assert memory.memory_limit(torch.device("cuda")) == math.inf
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    with pytest.raises(ValueError, match=r"does not tell how much memory is left: .* \(--memory\)"):
        memory.memory_limit(torch.device("cpu"))


def test_what_a_process_may_have_is_what_it_has_and_what_is_left(monkeypatch):
    told = {"/proc/self/status": {"VmRSS": 5000}, "/proc/meminfo": {"MemAvailable": 3000}}
    monkeypatch.setattr(memory, "_kilobytes", lambda path: told[str(path)])
    monkeypatch.setattr(memory, "_free_in_container", list)
    assert memory.available_bytes() == 1024 * 8000
    monkeypatch.setattr(memory, "_free_in_container", lambda: [1000])
    assert memory.available_bytes() == 1024 * 6000
    del told["/proc/meminfo"]
    assert memory.available_bytes() is None
