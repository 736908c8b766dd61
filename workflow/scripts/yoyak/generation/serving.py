"""What other programs need to give a merged model the prompt that it was trained with.

vLLM and transformers render the chat template that is saved with the tokenizer. Ollama renders the
Modelfile's Go template, `.Prompt` being what the user says: the dialogue.

Read in the sources of Ollama and vLLM, and run with neither: Ollama's converter takes
`add_bos_token` from tokenizer_config.json (absent: false, where there is a bos_token), and its
engine puts a BOS before the rendered text where that is true, even if the text has one; its parser
of a Modelfile drops what is not printable, but for blanks and ends of lines; a template without
`.Response` gets it at its end. vLLM stops at all ids of generation_config.json and samples at
temperature 1 unless told otherwise.
"""

import json
import re

from yoyak.config.prompts import ChatPrompt
from yoyak.data.chat_frames import DIALOGUE, FIXED_CLOCK, VARIABLES, conversation
from yoyak.data.prompts import PromptFrame, user_message

ODD = re.compile(r'"""|[^\n]')  # Go's actions begin with {{, a Modelfile's long text ends with """


def chat_template(tokenizer, frame: PromptFrame, chat: ChatPrompt | None) -> str:
    """The chat template to save with a merged model.

    chat: of the training's prompts. Its own template is kept, with the date and the empty think
    block of training. None, in instruction format: the user's message is the dialogue, and the
    template writes the prompt around it.
    """
    if chat is not None:
        template = tokenizer.get_chat_template()
        fixed = "".join(
            f"{{% set {name} = {json.dumps(value)} %}}"
            for name, value in VARIABLES.items()
            if name in template
        )
        return (FIXED_CLOCK if "strftime_now" in template else "") + fixed + template
    start = tokenizer.decode(frame.prefix_ids)
    stop = json.dumps(tokenizer.eos_token)
    head, tail = (json.dumps(text, ensure_ascii=False) for text in (frame.head, frame.tail))
    return (
        f"{{{{ {json.dumps(start)} }}}}{{% for message in messages %}}"
        f"{{% if message['role'] == 'user' %}}{{{{ {head} + message['content'] + {tail} }}}}"
        f"{{% elif message['role'] == 'assistant' %}}{{{{ message['content'] + {stop} }}}}"
        "{% endif %}{% endfor %}"
    )


def messages_of(dialogue: str, frame: PromptFrame, chat: ChatPrompt | None) -> list[dict]:
    """What to send to a chat server of such a model."""
    text = user_message(chat, frame.request).replace(DIALOGUE, dialogue) if chat else dialogue
    sentence = chat.system if chat else None
    return conversation([{"role": "user", "content": text}], sentence or "", frame.system)


def renders_as_trained(tokenizer, frame: PromptFrame, chat: ChatPrompt | None) -> bool:
    """Whether a server that only has the saved chat template writes the training prompt."""
    text = tokenizer.apply_chat_template(
        messages_of(DIALOGUE, frame, chat), add_generation_prompt=True, tokenize=False
    )
    return text == opening(tokenizer, frame) + DIALOGUE + frame.tail


def opening(tokenizer, frame: PromptFrame) -> str:
    """The text before the dialogue, a BOS included."""
    return tokenizer.decode(frame.prefix_ids) + frame.head


def modelfile(
    tokenizer, frame: PromptFrame, stops: list[int], new_tokens: int, context: int, adds_bos: bool
) -> str:
    """Ollama's description of a merged model, to lie beside its weights.

    context: tokens of prompt and summary. adds_bos: Ollama puts the BOS before the text by itself.
    """
    head = opening(tokenizer, frame)
    if adds_bos:
        head = head.removeprefix(tokenizer.bos_token or "")
    lines = [
        '# ollama create NAME -f Modelfile, then ollama run NAME "$(cat dialogue.txt)"',
        "FROM .",
        f'TEMPLATE """{_go(head)}{{{{ .Prompt }}}}{_go(frame.tail)}"""',
        *(f'PARAMETER stop "{tokenizer.convert_ids_to_tokens(stop)}"' for stop in stops),
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_predict {new_tokens}",
        f"PARAMETER num_ctx {context}",
    ]
    return "\n".join(lines) + "\n"


def _go(text: str) -> str:
    """Text of a Go template in a Modelfile; what would be taken for syntax, or dropped, as a string
    of Go's."""

    def written(found: re.Match) -> str:
        part = found[0]
        if part.isprintable() and part not in ("{", '"""'):
            return part
        codes = "".join(f"\\U{ord(character):08x}" for character in part)
        return f'{{{{ "{codes}" }}}}'

    return ODD.sub(written, text)
