"""Conversations of many shapes, all our own words."""

ROUTE = {
    "type": "function",
    "function": {
        "name": "find_route",
        "description": "Finds a route between two towns, \"quickly\" & <safely>.",
        "parameters": {
            "type": "object",
            "properties": {
                "start": {"type": "string", "description": "Where it begins: Zürich, 東京"},
                "stops": {"type": "array", "items": {"type": "string"}},
                "limit": {"type": "number", "default": 2.5},
            },
            "required": ["start"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "tell_time",
        "description": "Tells the time.",
        "parameters": {"type": "object", "properties": {}},
    },
}
DOCUMENTS = [{"title": "Bread", "text": "Flour, water and salt."}, {"title": "Öl", "text": "Press\nolives."}]


def user(content):
    return {"role": "user", "content": content}


def system(content):
    return {"role": "system", "content": content}


def assistant(content=None, **others):
    return {"role": "assistant", **({} if content is None else {"content": content}), **others}


def tool(content, **others):
    return {"role": "tool", "content": content, **others}


def call(arguments, name="find_route", identity="call12345"):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversations():
    """Name, messages, and what is given beside them."""
    yield "plain", [user("What is 6 times 7?"), assistant("42")], {}
    yield "asked", [user("What is 6 times 7?")], {}
    yield "system", [system("Be brief."), user("Hi"), assistant("Hello.")], {}
    yield "empty system", [system(""), user("Hi"), assistant("Hello.")], {}
    yield "spaces", [system("  Be brief. \n"), user("\n Hi \n\n"), assistant("\n\n Hello. \n")], {}
    yield "unicode", [user("日本語で 😀 é"), assistant("はい、ß “so” – 👩‍👩‍👧")], {}
    yield "marks", [user("Is {{ x }} <b>or</b> {% y %} & 'z' \"w\"?"), assistant("\\n is \\\\ and {# not #}")], {}
    yield "turns", [system("Be brief."), user("Amber?"), assistant("first"), user("Birch?"), assistant("second"), user("Cedar?"), assistant("third")], {}
    yield "turns, asked", [user("Amber?"), assistant("first"), user("Birch?")], {}
    yield "system within", [user("Amber?"), assistant("first"), system("Now in German."), user("Birch?"), assistant("zweitens")], {}
    yield "two users", [user("Amber?"), user("Birch?"), assistant("Cedar.")], {}
    yield "answer first", [assistant("Welcome."), user("Amber?"), assistant("Birch.")], {}
    yield "thought", [user("6 times 7?"), assistant("42", reasoning_content="Six sevens.")], {}
    yield "thoughts", [user("Amber?"), assistant("first", reasoning_content="One."), user("Birch?"), assistant("second", reasoning_content="\nTwo.\n\nThree.\n")], {}
    yield "thought, asked", [user("Amber?"), assistant("first", reasoning_content="One."), user("Birch?")], {}
    yield "thought within", [user("Amber?"), assistant("<think>\nOne.\n</think>\n\nfirst"), user("Birch?"), assistant("<think>\nTwo.\n</think>\n\nsecond")], {}
    yield "thought named thinking", [user("Amber?"), assistant("first", thinking="One.")], {}
    yield "no thinking", [user("Amber?"), assistant("first"), user("Birch?"), assistant("second")], {"enable_thinking": False}
    yield "no thinking, asked", [user("Amber?")], {"enable_thinking": False}
    yield "thinking", [user("Amber?"), assistant("first", reasoning_content="One.")], {"enable_thinking": True}
    yield "reasoning effort", [user("Amber?"), assistant("first")], {"reasoning_effort": "high"}
    yield "tools", [system("Help."), user("From Zürich?"), assistant("By train.")], {"tools": [ROUTE, CLOCK]}
    yield "tools, asked", [user("From Zürich?")], {"tools": [ROUTE]}
    yield "no tools", [user("From Zürich?"), assistant("By train.")], {"tools": []}
    answers = [tool('{"minutes": 56}', name="find_route", tool_call_id="call12345"), assistant("In 56 minutes.")]
    for form, arguments in [
        ("object", {"start": "Zürich", "stops": ["Olten", "Bern"], "limit": 1.5}),
        ("text", '{"start": "Zürich", "stops": ["Olten", "Bern"], "limit": 1.5}'),
        ("nothing", {}),
    ]:
        called = [user("From Zürich?"), assistant("", tool_calls=[call(arguments)])]
        yield f"call, {form}", [*called, *answers], {"tools": [ROUTE, CLOCK]}
        yield f"call alone, {form}", called, {"tools": [ROUTE]}
        yield f"call without content, {form}", [called[0], assistant(tool_calls=[call(arguments)]), *answers], {"tools": [ROUTE]}
    said = assistant("Let me see.", tool_calls=[call({"start": "Bern"}), call({}, "tell_time", "call67890")])
    both = [tool("56", name="find_route", tool_call_id="call12345"), tool("noon", name="tell_time", tool_call_id="call67890")]
    yield "two calls", [user("Amber?"), said, *both, assistant("At noon.")], {"tools": [ROUTE, CLOCK]}
    thinking = assistant("", reasoning_content="A tool.", tool_calls=[call({"start": "Bern"})])
    yield "thought and call", [user("Amber?"), thinking, both[0], assistant("56.", reasoning_content="So 56."), user("Birch?"), assistant("Cedar.")], {"tools": [ROUTE]}
    yield "documents", [user("Bread?"), assistant("Flour.")], {"documents": DOCUMENTS}
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    yield "parts", [user(parts), assistant("Bread.")], {}
    yield "parts of answers", [user("Amber?"), assistant([{"type": "text", "text": "Bread."}])], {}
    yield "long", [message for turn in range(12) for message in (user(f"Question {turn}?"), assistant(f"Answer {turn}. " * 9))], {}
