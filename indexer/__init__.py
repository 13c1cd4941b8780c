"""Everything that makes an index.

Every process of hashlens imports this package before any library, so it also switches off what
libraries would send: ONNX Runtime collects telemetry unless a variable is set before its import,
and huggingface_hub adds usage data to its downloads.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
