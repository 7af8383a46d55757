# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.predict.decode.exact_byte_probabilities import ByteModel as ByteModel
from tokenloom.predict.decode.exact_byte_probabilities import Ensemble as Ensemble
