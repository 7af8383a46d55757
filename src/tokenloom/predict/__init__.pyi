# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.predict.decode.assd import ASSD as ASSD
from tokenloom.predict.decode.drafting import Draft as Draft
from tokenloom.predict.decode.drafting import Drafter as Drafter
from tokenloom.predict.decode.exact_byte_probabilities import ByteModel as ByteModel
from tokenloom.predict.decode.exact_byte_probabilities import Ensemble as Ensemble
from tokenloom.predict.decode.flash_speculative import FLASH as FLASH
from tokenloom.predict.decode.flash_speculative import FlashHead as FlashHead
from tokenloom.predict.decode.flash_speculative import flash_tree as flash_tree
from tokenloom.predict.decode.flash_speculative import own_answers as own_answers
from tokenloom.predict.decode.flash_speculative import train_flash as train_flash
from tokenloom.predict.decode.generating import Generated as Generated
from tokenloom.predict.decode.generating import transformers_hook as transformers_hook
from tokenloom.predict.decode.sampling import Warp as Warp
from tokenloom.predict.decode.session import CausalSession as CausalSession
from tokenloom.predict.decode.token_recycling import TokenRecycling as TokenRecycling
from tokenloom.predict.decode.token_recycling import choose_tree as choose_tree
from tokenloom.predict.decode.token_recycling import forward_costs as forward_costs
from tokenloom.predict.decode.token_recycling import published_tree as published_tree
