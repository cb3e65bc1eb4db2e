"""The command line: ask, chat, models, bench, demo, engine and more.

Decisions are pure and stand apart (``choice``, ``exits``, ``talk``, ``slash``, ``blocks``); every answer is shown by
``screens``. rich, prompt-toolkit and aiohttp load where they are used, so that ``--help`` is quick.
"""
