"""The token at which everything must stop: where the chat template ends an assistant's turn."""

from __future__ import annotations

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from common.config import RunConfig
from common.estimate.dimensions import hub_models
from common.stages.prepare_model import chat_template

BUILT = "<eos>"  # of the tokenizers that common/stages/prepare_model.py makes
_ANSWER = "0123456789"


def check_stop_token(run: RunConfig) -> None:
    """Raise ValueError unless a sampler that stops at `eos_token` stops at the end of a turn.

    The cold start teaches what the template writes after an answer. Were it another token than the
    tokenizer's and the generation configuration's, every response would run to its limit.
    """
    model = run.recipe.models[run.recipe.model]
    path = chat_template(run)
    if not path.is_file():
        raise ValueError(f"recipe.models.{run.recipe.model}: there is no chat template {path.name}")
    eos_token = model.eos_token if model.hub else BUILT
    ends = turn_end(path.read_text(), str(eos_token))
    if not ends.startswith(str(eos_token)):
        raise ValueError(
            f"{path.name} ends an assistant's turn with {ends.strip()!r} and the sampler stops at "
            f"{eos_token!r}; change recipe.models.{run.recipe.model}.eos_token or the template"
        )
    shipped = hub_models().get(str(model.hub))
    if shipped is not None and eos_token not in shipped["special_tokens"]:
        raise ValueError(
            f"recipe.models.{run.recipe.model}.eos_token={eos_token}: {model.hub} has no such "
            f"token (there: {', '.join(shipped['special_tokens'])})"
        )


def turn_end(template: str, eos_token: str) -> str:
    """What the template writes after an assistant's answer."""
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
    try:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        text = environment.from_string(template).render(messages=messages, eos_token=eos_token)
    except TemplateError as error:
        raise ValueError(f"the chat template cannot be rendered ({error})") from None
    return text.partition(_ANSWER)[2]
