"""Lightning's BatchSizeFinder (power mode): its steps and its seconds."""
import argparse
import json
import logging
import tempfile
import time
import warnings

import lightning
import torch
from lightning.pytorch.tuner import Tuner
from torch.nn import functional as F

import common
import vision_loop

SHAPES = {"cnn": (1, 28, 28)}


class Classifier(lightning.LightningModule):
    def __init__(self, name, examples, optimizer):
        super().__init__()
        shape = SHAPES.get(name, (3, 32, 32))
        self.batch_size = 2
        self.steps = 0
        self.model = (common.Cnn() if name == "cnn"
                      else vision_loop.make(name, 10))
        self.optimizer_name = optimizer
        self.data = torch.utils.data.TensorDataset(
            torch.randn(examples, *shape), torch.randint(0, 10, (examples,)))

    def train_dataloader(self):
        return torch.utils.data.DataLoader(
            self.data, batch_size=self.batch_size, shuffle=True)

    def training_step(self, batch, _):
        self.steps += 1
        images, labels = batch
        return F.cross_entropy(self.model(images), labels)

    def configure_optimizers(self):
        if self.optimizer_name == "adam":
            return torch.optim.Adam(self.parameters(), lr=1e-6)
        return torch.optim.SGD(self.parameters(), lr=1e-6, momentum=0.9)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--optimizer", required=True)
    parser.add_argument("--largest", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = Classifier(args.model, 3 * args.largest, args.optimizer)
    # The tuner keeps a checkpoint while it runs.
    folder = tempfile.TemporaryDirectory()
    trainer = lightning.Trainer(
        default_root_dir=folder.name, accelerator="cpu", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False)
    start = time.perf_counter()
    # What reaches max_val is not run, so that the largest that is is half of it.
    found = Tuner(trainer).scale_batch_size(
        module, mode="power", steps_per_trial=3, init_val=2,
        max_val=2 * args.largest)
    print(json.dumps({"seconds": time.perf_counter() - start,
                      "steps": module.steps, "found": found}))


if __name__ == "__main__":
    main()
