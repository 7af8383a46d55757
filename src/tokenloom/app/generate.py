"""`tokenloom generate`: text from a model, as it is written, and what it took."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import InvalidInput, StoreError
from .given import read_text

if TYPE_CHECKING:
    from ..predict.decode.generating import Generated
    from ..predict.decode.token_recycling import TokenRecycling

__all__ = ["generate"]


def generate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a Hugging Face model, with its tokenizer.")],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="What to continue; - for standard input.")
    ] = None,
    prompt_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The same from a file.")] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Ask it as a user, by the model's template of conversations.")
    ] = False,
    drafter: Annotated[
        str, typer.Option("--drafter", "-d", metavar="none|recycling", help="What proposes tokens.")
    ] = "none",
    tree: Annotated[
        str,
        typer.Option(
            metavar="small|published|measured", help="recycling: which candidates; measured fits this machine."
        ),
    ] = "small",
    matrix: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="recycling: what was learnt; read if it is there, and written in the end."),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", min=1, metavar="N", help="At most so many.")
    ] = 256,
    temperature: Annotated[
        float, typer.Option(min=0.0, metavar="T", help="0 for the most probable token each time.")
    ] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, metavar="K", help="Draw among so many.")] = None,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="P", help="Draw among the most probable that have P together.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of what is drawn.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Stop there; may be given several times.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print ids, text and statistics as JSON when all is written.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The text alone.")] = False,
) -> None:
    """Continue a text. With a drafter the same text takes fewer passes of the model.

    Example: tokenloom generate smollm2/ --chat --prompt "Why is the sky blue?" --drafter recycling

    The text goes to standard output as it is written, statistics to standard error.
    """
    import torch
    from rich.console import Console

    from ..hosts import load_tokenizer
    from ..hosts.model_folder import check_folder, load_model
    from ..predict.decode.generating import stream

    text = _prompt(prompt, prompt_file)
    if drafter not in ("none", "recycling"):
        raise InvalidInput(f"no drafter {drafter!r}; there are none and recycling")
    if tree not in ("small", "published", "measured"):
        raise InvalidInput(f"no tree {tree!r}; there are small, published and measured")
    if drafter == "none" and (matrix is not None or tree != "small"):
        raise InvalidInput("--tree and --matrix belong to --drafter recycling")
    if matrix is not None and matrix.exists() and not (matrix / "tokenloom.json").is_file():
        raise StoreError(f"{matrix} is there already, and holds no matrix")
    check_folder(model)
    with Console(stderr=True, quiet=quiet).status("loading the model …") as status:
        network, tokenizer = load_model(model), load_tokenizer(model)
        if chat:
            text = _conversation(model, text)
        proposes = None
        if drafter == "recycling":
            if tree == "measured":
                status.update("measuring this machine …")
            proposes = _recycling(network, tree, matrix)
    running = stream(
        network, text, proposes, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        generator=torch.Generator().manual_seed(seed), tokenizer=tokenizer, stop=stop or (),
    )  # fmt: skip
    start = time.perf_counter()
    for piece in running:
        if not as_json:
            sys.stdout.write(str(piece))
            sys.stdout.flush()
    found, seconds = running.result, time.perf_counter() - start
    if proposes is not None and matrix is not None:
        proposes.save_pretrained(matrix)
    told = _statistics(found, seconds)
    if as_json:
        typer.echo(json.dumps({"text": found.text, "ids": found.ids, **told}, ensure_ascii=False, indent=1))
        return
    typer.echo()
    if not quiet:
        _show(found, told)


def _prompt(prompt: str | None, path: Path | None) -> str:
    if (prompt is None) == (path is None):
        raise InvalidInput("give the text to continue, by --prompt or by --prompt-file")
    text = read_text(path) if path is not None else sys.stdin.read() if prompt == "-" else str(prompt)
    if not text:
        raise InvalidInput("the prompt is empty")
    return text


def _conversation(model: Path, text: str) -> str:
    """The prompt as the model's template writes it."""
    from ..core.errors import require
    from ..hosts.model_folder import chat_template

    if chat_template(model) is None:
        raise InvalidInput(f"{model} does not say how conversations are written; ask without --chat")
    tokenizer = require("transformers", "hf").AutoTokenizer.from_pretrained(model, local_files_only=True)
    return str(
        tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
    )


def _recycling(network: Any, tree: str, matrix: Path | None) -> "TokenRecycling":
    import torch

    from ..predict.decode.generating import generate as write
    from ..predict.decode.token_recycling import TokenRecycling, choose_tree, forward_costs, published_tree

    learnt = TokenRecycling.from_pretrained(matrix) if matrix is not None and matrix.exists() else None
    chosen = {"small": None, "published": published_tree()}.get(tree)
    if tree == "measured":
        trial = TokenRecycling(published_tree())
        write(network, [0], trial, max_new_tokens=48, end=())
        chosen = choose_tree(trial, forward_costs(network))
    made = TokenRecycling(chosen)
    if learnt is not None:
        made.matrix_Vk = torch.as_tensor(learnt.matrix_Vk)
    return made


def _statistics(found: "Generated", seconds: float) -> dict[str, Any]:
    return {
        "stopped": found.stopped,
        "tokens": len(found.ids),
        "passes": len(found.steps),
        "tokens a pass": round(found.tokens_per_forward, 3),
        "seconds": round(seconds, 3),
        "tokens a second": round(len(found.ids) / seconds, 2) if seconds else None,
        "accepted by depth": [f"{a}/{o}" for a, o in zip(found.accepted, found.offered)],
        "ledger": found.ledger.as_dict(),
    }


def _show(found: "Generated", told: dict[str, Any]) -> None:
    depths = f"; stayed by depth {' '.join(told['accepted by depth'])}" if found.offered else ""
    typer.secho(
        f"{told['tokens']} tokens in {told['passes']} passes ({told['tokens a pass']:.2f} each), {told['seconds']:.1f} s, "
        f"{told['tokens a second']} a second, stopped by {found.stopped}{depths}",
        err=True, dim=True,
    )  # fmt: skip
