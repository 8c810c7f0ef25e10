"""OpenEVS: the Elastic Volume Service API, self-hosted, over real block devices."""

__version__ = "0.1.0"
