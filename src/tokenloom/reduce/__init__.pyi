# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.reduce.attaching import Attachment as Attachment
from tokenloom.reduce.attaching import attach as attach
from tokenloom.reduce.baselines import Linspace as Linspace
from tokenloom.reduce.baselines import Random as Random
from tokenloom.reduce.baselines import UniformGrid as UniformGrid
from tokenloom.reduce.crops import Crops as Crops
from tokenloom.reduce.divprune import DivPrune as DivPrune
from tokenloom.reduce.fastv import FastV as FastV
from tokenloom.reduce.fopru import FoPru as FoPru
from tokenloom.reduce.globalcom2 import GlobalCom2 as GlobalCom2
from tokenloom.reduce.hiprune import HiPrune as HiPrune
from tokenloom.reduce.prumerge import PruMerge as PruMerge
from tokenloom.reduce.prumerge import PruMergePlus as PruMergePlus
from tokenloom.reduce.signals import Signal as Signal
from tokenloom.reduce.sparsevlm import SparseVLM as SparseVLM
from tokenloom.reduce.token_correlation_compression import TokenCorrelationCompression as TokenCorrelationCompression
from tokenloom.reduce.tome import ToMe as ToMe
from tokenloom.reduce.tome import ToMeEveryKth as ToMeEveryKth
from tokenloom.reduce.tome import ToMeRandomSplit as ToMeRandomSplit
from tokenloom.reduce.tome import tome_schedule as tome_schedule
from tokenloom.reduce.visionzip import VisionZip as VisionZip
