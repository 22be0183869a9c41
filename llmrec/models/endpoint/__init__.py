"""Endpoint hides servers: a model behind HTTP that speaks the chat protocol of OpenAI.

Hugging Face's providers, vLLM, TGI, Ollama, LM Studio and llama.cpp are all such servers. They
keep a JSON schema more or less, so every answer is checked against it here.
"""

from llmrec.models.endpoint.client import Endpoint, MisfitError
from llmrec.models.endpoint.schemas import misfit
from llmrec.models.endpoint.servers import Capabilities
from llmrec.models.endpoint.usage import Usage
from llmrec.models.endpoint.wire import KEY

__all__ = ["KEY", "Capabilities", "Endpoint", "MisfitError", "Usage", "misfit"]
