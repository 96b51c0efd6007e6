"""Galleries of photos as vectors: reading, packing, networks, the encoder and its table of embeddings.

from features.gallery import EncoderConfig, GalleryData, GalleryEncoder

data = GalleryData.open("dataset.toml")                      # photos and attributes, every fault at once
encoder = GalleryEncoder.fit(data, EncoderConfig(seed=1))    # 31 attributes at once, say; held-out ones refused
encoder.embed(data).write("vectors.parquet")                 # one vector per item, with a fingerprint
"""

from features.gallery.backbones import Backbone, count_parameters, make_backbone
from features.gallery.config import AugmentationConfig, EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.fitting import fit_network, mean_losses
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from features.gallery.pooling import make_pooling
from features.gallery.schema import GallerySchema
from features.gallery.source import open_photos
from features.gallery.store import Embeddings
from features.gallery.tasks import GalleryTasks

__all__ = [
    "AugmentationConfig",
    "Backbone",
    "Embeddings",
    "EncoderConfig",
    "GalleryData",
    "GalleryEncoder",
    "GalleryNetwork",
    "GallerySchema",
    "GalleryTasks",
    "PackedGalleries",
    "count_parameters",
    "fit_network",
    "make_backbone",
    "make_pooling",
    "mean_losses",
    "open_photos",
]
