"""What child processes run: in a module that they can import."""


def put_tags(queue, tagger, texts, **options) -> None:
    queue.put(tagger(texts, **options))
