import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from {{ cookiecutter.package_name }}.training.callbacks.ema import WeightAverage


class Drifting(LightningModule):
    """One weight that each step moves by one, so that average and weight are far apart."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = {"validation": [], "test": [], "predict": []}

    def training_step(self, batch, batch_idx):
        return -self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.seen["validation"].append(self.weight.item())

    def test_step(self, batch, batch_idx):
        self.seen["test"].append(self.weight.item())

    def predict_step(self, batch, batch_idx):
        self.seen["predict"].append(self.weight.item())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


STEPS = 6
BATCHES = DataLoader(torch.zeros(STEPS, 1))
ONE = DataLoader(torch.zeros(1, 1))


def by_hand(steps, decay):
    average = 0.0
    for n in range(1, steps + 1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * n
    return average


def trainer_in(folder, epochs=1):
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[WeightAverage(decay=0.5)],
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def test_the_average_follows_its_formula_and_is_validated(tmp_path):
    module = Drifting()
    trainer_in(tmp_path).fit(module, BATCHES, ONE)
    assert module.seen["validation"] == [torch.tensor(by_hand(STEPS, 0.5)).item()]


def test_training_continues_from_its_own_weights_after_validation(tmp_path):
    module = Drifting()
    trainer_in(tmp_path, epochs=2).fit(module, BATCHES, ONE)
    assert module.weight.item() == 2 * STEPS


def test_testing_and_predicting_a_checkpoint_on_the_same_trainer_use_the_average(tmp_path):
    module = Drifting()
    trainer = trainer_in(tmp_path)
    trainer.fit(module, BATCHES, ONE)
    path = tmp_path / "saved.ckpt"
    trainer.save_checkpoint(path)
    expected = torch.tensor(by_hand(STEPS, 0.5)).item()
    trainer.test(module, ONE, ckpt_path=path, verbose=False)
    trainer.predict(module, ONE, ckpt_path=path)
    assert module.seen["test"] == [expected]
    assert module.seen["predict"] == [expected]


def test_the_average_of_weights_of_16_bits_moves_by_less_than_their_precision(tmp_path):
    module = Drifting().bfloat16()
    trainer = trainer_in(tmp_path)
    trainer.fit(module, BATCHES, ONE)
    (average,) = trainer.callbacks[0].average.values()
    assert average.dtype == torch.float32
    torch.testing.assert_close(average, torch.tensor([by_hand(STEPS, 0.5)]))


def test_the_state_dict_of_a_checkpoint_is_the_average(tmp_path):
    trainer = trainer_in(tmp_path)
    trainer.fit(Drifting(), BATCHES, ONE)
    path = tmp_path / "saved.ckpt"
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    torch.testing.assert_close(content["state_dict"]["weight"], torch.tensor([by_hand(STEPS, 0.5)]))
    assert content["trained_weights"]["weights"]["weight"].item() == STEPS


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = Drifting()
    trainer_in(tmp_path, epochs=2).fit(whole, BATCHES, ONE)
    first, second = trainer_in(tmp_path), trainer_in(tmp_path, epochs=2)
    path = tmp_path / "half.ckpt"
    first.fit(Drifting(), BATCHES, ONE)
    first.save_checkpoint(path)
    resumed = Drifting()
    second.fit(resumed, BATCHES, ONE, ckpt_path=path)
    assert resumed.weight.item() == whole.weight.item()
    assert resumed.seen["validation"][-1] == whole.seen["validation"][-1]
