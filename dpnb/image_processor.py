"""Pictures in and out of an autoencoder, by the path that scripts import them from."""

from dpnb.pipelines.foreign.image_processor import VaeImageProcessor

__all__ = ["VaeImageProcessor"]
