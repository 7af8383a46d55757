# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.models.batches import pack as pack
from tokenloom.models.batches import packs as packs
from tokenloom.models.batches import windows as windows
from tokenloom.models.hypernetwork import Hypernetwork as Hypernetwork
from tokenloom.models.stvit import STViT as STViT
from tokenloom.models.training import train as train
from tokenloom.models.transformer import Transformer as Transformer
from tokenloom.models.two_stream import TwoStream as TwoStream
