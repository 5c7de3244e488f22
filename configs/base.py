"""Every field of a training run, its default and its unit.

Other configs are deltas of this one. Fields outside `bookkeeping` change the
result and make the fingerprint of a run.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Small MLP on the digits that scikit-learn ships."""
  config = ml_collections.ConfigDict()
  config.method = "train"  # or another of rethink/methods: "construct()"

  # Data.
  config.dataset = "digits"  # as prepared: "name" or "name:version"
  config.train_split = "train"  # TFDS split, or a part: "train[:80%]"
  config.test_split = "test"  # likewise; ImageNet's is "validation"
  config.pipeline = "resident"  # on the devices; or "stream": from disk
  config.skip_damaged = False  # leave unreadable records out, and count them
  config.train_examples = 0  # examples; a fixed subset, 0 is all of them
  config.balanced_subset = False  # equal class sizes in that subset
  config.image_size = 0  # pixels: side of what the model sees; 0: whole images
  # "crop" to the centre of that size or "resize" to it; "" resizes where images
  # are streamed and central_fraction is not 0, and crops elsewhere.
  config.framing = ""
  config.central_fraction = 0.875  # of an image, which is resized
  config.normalize = "per_image"  # to mean 0, variance 1; "symmetric": [-1, 1]
  config.data_seed = 0  # draws corruptions and subsets
  config.corruptions = ()  # calls in order; () is true labels and pixels

  # Model and optimization.
  config.model = "mlp(widths=(512,))"
  config.seed = 0  # draws initialization, order, augmentation, dropout
  config.batch_size = 128  # examples per step, over all devices
  config.drop_last = False  # leave out an epoch's last batch if not full
  config.num_epochs = 30  # passes over the training examples
  config.stop_at_train_loss = 0.0  # nats, clean pass; 0 never stops early
  config.loss = "cross_entropy()"  # of training; metrics report this one always
  config.optimizer = "sgd(momentum=0.9)"  # or of Optax: "optax:adamw()"
  config.learning_rate = 0.01  # at the start
  config.schedule = "exponential(decay=0.95, every_epochs=1)"
  config.regularizers = ()  # calls in order; () is none
  config.ema_decay = 0.0  # per step, of the evaluated averages; 0 has none
  config.dtype = "float32"  # of activations; parameters stay float32

  # Evaluation: clean passes over the training and the test split.
  config.eval_batch_size = 512  # examples at a time
  config.eval_every_epochs = 1  # epochs between clean passes
  config.eval_train_examples = 0  # examples; a fixed subset, 0 is all of them
  config.metrics = ()  # calls; logged beside loss and accuracy
  # Training examples, in whole batches, from which batch norm's statistics are
  # estimated anew for every clean pass; 0 uses the running averages.
  config.reestimate_batch_stats = 0  # examples

  book = config.bookkeeping = ml_collections.ConfigDict()
  book.examples_every_epochs = 0  # log each training example's loss; 0 never
  book.chunk_seconds = 5.0  # device work between two looks at signals
  book.checkpoint_every_epochs = 10  # epochs
  book.checkpoint_every_seconds = 300.0  # seconds, also inside an epoch
  book.checkpoints_to_keep = 2  # newest states to keep, besides the best one
  book.best_metric = "test/accuracy"  # whose best row's state is in best/
  book.fit_threshold = 0.05  # nats; fitted: clean train loss at or below it
  book.platform = ""  # run only on "cpu", "gpu" or "tpu"; "" is any
  book.stream_threads = 0  # decoding threads; 0 is one for each CPU core
  book.stream_workers = 0  # decoding processes; 0 decodes in this one
  book.cache_dir = ""  # folder for decoded images, stream only; "" keeps none
  book.progress = True  # live bar, on a terminal
  book.tensorboard = True  # events, where tensorboardX is installed
  book.wandb_project = ""  # where wandb is installed; "" is off
  return config
