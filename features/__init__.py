"""What the model sees: logs, their encoding, galleries of photos as vectors, and the synthetic marketplace.

from features import Dataset, Encoders, GalleryEncoder, encode_log, make_world

dataset = Dataset.open("dataset.toml")
dataset.validate().raise_if_faulty()               # every fault with file, column, row and value
encoders = Encoders.fit(dataset)                   # fitted on the train role
train = encode_log(dataset, encoders, "train", serving_position=False)
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)

from features.dataset import Dataset, LogBatch  # noqa: E402
from features.encoded import EncodedLog, encode_log  # noqa: E402
from features.encoders import Encoders  # noqa: E402
from features.errors import Fault, InputError, raise_faults  # noqa: E402
from features.gallery.encoder import GalleryEncoder  # noqa: E402
from features.inputs import Inputs  # noqa: E402
from features.reading import open_parquet, read_batches, resolve_files, schema_of  # noqa: E402
from features.sampling import downsample_negatives, negative_rates, negative_sample_mask  # noqa: E402
from features.schema import ROLES, Head, Sampling, Schema  # noqa: E402
from features.statistics import earlier_statistics  # noqa: E402
from features.tables import as_arrow  # noqa: E402
from features.validation import ValidationReport  # noqa: E402
from features.vectors import ItemVectors  # noqa: E402
from features.world.make import make_world  # noqa: E402

__all__ = [
    "ROLES",
    "Dataset",
    "EncodedLog",
    "Encoders",
    "Fault",
    "GalleryEncoder",
    "Head",
    "InputError",
    "Inputs",
    "ItemVectors",
    "LogBatch",
    "Sampling",
    "Schema",
    "ValidationReport",
    "as_arrow",
    "downsample_negatives",
    "earlier_statistics",
    "encode_log",
    "make_world",
    "negative_rates",
    "negative_sample_mask",
    "open_parquet",
    "raise_faults",
    "read_batches",
    "resolve_files",
    "schema_of",
]
