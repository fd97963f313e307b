"""How well retrieval finds what it should: data sets, the project's own among them, measures, and made-up bases of any
size. `innkeeper kb bench` shows what comes of it (`innkeeper.bench.knowledge`)."""
