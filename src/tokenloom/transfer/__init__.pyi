# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.transfer.alm_distillation import ALM as ALM
from tokenloom.transfer.baselines import FOCUS as FOCUS
from tokenloom.transfer.baselines import ReTok as ReTok
from tokenloom.transfer.baselines import TransTokenizer as TransTokenizer
from tokenloom.transfer.composition import FVT as FVT
from tokenloom.transfer.composition import Mean as Mean
from tokenloom.transfer.composition import Random as Random
from tokenloom.transfer.dynamic_tokenization import DynamicTokenization as DynamicTokenization
from tokenloom.transfer.rows import Rows as Rows
from tokenloom.transfer.tokenadapt import TokenAdapt as TokenAdapt
from tokenloom.transfer.transplanting import Transplanted as Transplanted
from tokenloom.transfer.transplanting import transplant as transplant
from tokenloom.transfer.wechsel import WECHSEL as WECHSEL
