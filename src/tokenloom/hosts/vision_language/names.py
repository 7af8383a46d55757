"""The names of transformers that are not there in all of its versions, in one place, so that one message tells which are needed."""

from ...core.errors import MissingExtra

try:
    from transformers.masking_utils import AttentionMaskInterface, create_causal_mask, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface
    from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape
    from transformers.vision_utils import get_vision_window_index
except ImportError as error:
    raise MissingExtra(
        f"vision-language models need transformers 5.23 or newer ({error}): pip install --upgrade 'tokenloom[hf]'"
    ) from error

__all__ = [
    "ALL_ATTENTION_FUNCTIONS",
    "AttentionInterface",
    "AttentionMaskInterface",
    "create_causal_mask",
    "eager_mask",
    "get_anyres_image_grid_shape",
    "get_vision_window_index",
]
