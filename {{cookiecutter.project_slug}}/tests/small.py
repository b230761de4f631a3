"""Overrides that make a training a matter of seconds."""

SHAPES = ("data.train_images=40", "data.val_images=20", "data.test_images=20")
SMALL = (
    "data.image_size=32",
    "model.backbone=test_resnet",
    "loader.batch_size=10",
    "loader.workers=0",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.progress=false",
    "tracking=none",
)
