"""The wire formats: requests of three dialects become one conversation, and one reply becomes JSON or events of each."""
import hashlib
import json
from dataclasses import dataclass, field


@dataclass
class Turn:
    """One message: who wrote it (`user`, `assistant` or `tool`), its text, and the tool calls in it as (name, arguments)."""

    who: str
    text: str
    calls: list = field(default_factory=list)


@dataclass
class Conversation:
    """What a request says, whatever its dialect: the system prompt, the turns, and the tools by name with their schemas."""

    model: str
    system: str
    turns: list
    tools: dict
    stream: bool
    body: dict


@dataclass
class Reply:
    """Text and tool calls as (name, arguments); arguments that are text belong to a free-form tool."""

    text: str
    calls: list = field(default_factory=list)
    note: dict = field(default_factory=dict)


def plain(content):
    """The text of a message's content: a string, or parts of several kinds."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    parts = []
    for part in content or []:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            parts.append(part["text"] if isinstance(part.get("text"), str) else plain(part.get("content")))
    return "\n".join(part for part in parts if part)


def arguments_of(text):
    """Arguments as an object where they are one, else as they came."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def tools_of(entries):
    """Tools by name, with `description`, `parameters` (a JSON schema) and `freeform`; hosted ones are left out."""
    tools = {}
    for entry in entries or []:
        about = entry.get("function") if isinstance(entry.get("function"), dict) else entry
        if entry.get("type") == "namespace":
            tools |= tools_of(entry.get("tools"))
        elif "name" in about:
            schema = about.get("parameters") or about.get("input_schema") or {}
            freeform = entry.get("type") == "custom" and "input_schema" not in about
            tools[about["name"]] = {"description": about.get("description") or "", "parameters": schema, "freeform": freeform}
    return tools


def chat_request(body):
    """A request to /v1/chat/completions."""
    system, turns = [], []
    for message in body.get("messages") or []:
        role, text = message.get("role"), plain(message.get("content"))
        if role in ("system", "developer"):
            system.append(text)
            continue
        calls = [(call["function"]["name"], arguments_of(call["function"].get("arguments"))) for call in message.get("tool_calls") or []]
        if message.get("function_call"):
            calls.append((message["function_call"]["name"], arguments_of(message["function_call"].get("arguments"))))
        turns.append(Turn({"assistant": "assistant", "user": "user"}.get(role, "tool"), text, calls))
    tools = tools_of([*(body.get("tools") or []), *(body.get("functions") or [])])
    return Conversation(str(body.get("model")), "\n".join(system), turns, tools, bool(body.get("stream")), body)


def responses_request(body):
    """A request to /v1/responses."""
    system, turns = [body.get("instructions") or ""], []
    items = body.get("input")
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items or []:
        kind = item.get("type", "message")
        if kind == "message":
            text, role = plain(item.get("content")), item.get("role")
            if role in ("system", "developer"):
                system.append(text)
            else:
                turns.append(Turn("assistant" if role == "assistant" else "user", text))
        elif kind in ("function_call", "custom_tool_call"):
            turns.append(Turn("assistant", "", [(item.get("name"), arguments_of(item.get("arguments", item.get("input"))))]))
        elif kind.endswith("_output"):
            turns.append(Turn("tool", plain(item.get("output"))))
    return Conversation(str(body.get("model")), "\n".join(system), turns, tools_of(body.get("tools")), bool(body.get("stream")), body)


def messages_request(body):
    """A request to /v1/messages."""
    turns = []
    for message in body.get("messages") or []:
        content = message.get("content")
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        results = [part for part in content if part.get("type") == "tool_result"]
        calls = [(part["name"], part.get("input")) for part in content if part.get("type") == "tool_use"]
        if results:
            turns.append(Turn("tool", "\n".join(plain(part.get("content")) for part in results)))
        text = "\n".join(part.get("text", "") for part in content if part.get("type") == "text")
        if text or calls:
            turns.append(Turn(message.get("role", "user"), text, calls))
    return Conversation(str(body.get("model")), plain(body.get("system")), turns, tools_of(body.get("tools")), bool(body.get("stream")), body)


def tokens(value):
    """About how many tokens a value has: four bytes of its JSON each."""
    return len(value if isinstance(value, str) else json.dumps(value)) // 4 + 1


def usage_of(conversation, reply):
    """(input, of which were seen before, output): what came up to the last answer of ours counts as cached."""
    body, entries = conversation.body, conversation.body.get("messages") or conversation.body.get("input") or []
    entries = entries if isinstance(entries, list) else [entries]
    total = tokens({key: value for key, value in body.items() if key in ("messages", "input", "tools", "functions", "system", "instructions")})
    ours = [at for at, entry in enumerate(entries) if isinstance(entry, dict) and (entry.get("role") == "assistant" or entry.get("type") == "function_call")]
    new = sum(tokens(entry) for entry in entries[ours[-1] :]) if ours else total
    cached = max(total - new, 0) // 128 * 128
    output = tokens(reply.text) + sum(tokens(name) + tokens(arguments) for name, arguments in reply.calls)
    return total, cached if total >= 1024 else 0, output


def ids(conversation, what, at=0):
    """An id that equal requests share."""
    digest = hashlib.sha256(json.dumps([conversation.body, what, at], sort_keys=True).encode()).hexdigest()
    return f"{what}_{digest[:24]}"


def text_of(arguments):
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def pieces(text, size=400):
    """A text in the pieces that a stream carries."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def chat_reply(conversation, reply):
    """The answer of /v1/chat/completions: an object, or the events of a stream as (name, data)."""
    total, cached, output = usage_of(conversation, reply)
    usage = {"prompt_tokens": total, "completion_tokens": output, "total_tokens": total + output,
             "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": 0}}
    base = {"id": ids(conversation, "chatcmpl"), "created": 1700000000, "model": conversation.model}
    legacy = "functions" in conversation.body
    calls = [{"id": ids(conversation, "call", at), "type": "function", "function": {"name": name, "arguments": text_of(arguments)}}
             for at, (name, arguments) in enumerate(reply.calls)]
    end = ("function_call" if legacy else "tool_calls") if calls else "stop"
    if not conversation.stream:
        message = {"role": "assistant", "content": reply.text or None}
        if calls:
            message |= {"function_call": calls[0]["function"]} if legacy else {"tool_calls": calls}
        return base | {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": end}], "usage": usage}
    chunk = lambda delta, end=None: (None, base | {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in pieces(reply.text)]
    for at, call in enumerate(calls):
        head = call | {"index": at, "function": {"name": call["function"]["name"], "arguments": ""}}
        events.append(chunk({"tool_calls": [head]}))
        events += [chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}) for piece in pieces(call["function"]["arguments"])]
    events.append(chunk({}, end))
    if (conversation.body.get("stream_options") or {}).get("include_usage"):
        events.append((None, base | {"object": "chat.completion.chunk", "choices": [], "usage": usage}))
    return [*events, (None, "[DONE]")]


def responses_reply(conversation, reply):
    """The answer of /v1/responses."""
    total, cached, output = usage_of(conversation, reply)
    items = []
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        items.append({"id": ids(conversation, "msg"), "type": "message", "role": "assistant", "status": "completed", "content": [part]})
    for at, (name, arguments) in enumerate(reply.calls):
        call = {"call_id": ids(conversation, "call", at), "name": name, "status": "completed"}
        if conversation.tools.get(name, {}).get("freeform"):
            items.append({"id": ids(conversation, "ctc", at), "type": "custom_tool_call", **call, "input": text_of(arguments)})
        else:
            items.append({"id": ids(conversation, "fc", at), "type": "function_call", **call, "arguments": text_of(arguments)})
    whole = {"id": ids(conversation, "resp"), "object": "response", "created_at": 1700000000, "status": "completed", "model": conversation.model,
             "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True,
             "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "output": items,
             "usage": {"input_tokens": total, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": output,
                       "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": total + output}}
    if not conversation.stream:
        return whole
    events = [{"type": kind, "response": whole | {"status": "in_progress", "output": [], "usage": None}} for kind in ("response.created", "response.in_progress")]
    for at, item in enumerate(items):
        place = {"item_id": item["id"], "output_index": at}
        if item["type"] == "message":
            here, part = place | {"content_index": 0}, item["content"][0]
            events.append({"type": "response.output_item.added", "output_index": at, "item": item | {"status": "in_progress", "content": []}})
            events.append({"type": "response.content_part.added", **here, "part": part | {"text": ""}})
            events += [{"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []} for piece in pieces(reply.text)]
            events.append({"type": "response.output_text.done", **here, "text": reply.text, "logprobs": []})
            events.append({"type": "response.content_part.done", **here, "part": part})
        else:
            field_, kind = ("input", "custom_tool_call_input") if item["type"] == "custom_tool_call" else ("arguments", "function_call_arguments")
            events.append({"type": "response.output_item.added", "output_index": at, "item": item | {"status": "in_progress", field_: ""}})
            events += [{"type": f"response.{kind}.delta", **place, "delta": piece} for piece in pieces(item[field_])]
            events.append({"type": f"response.{kind}.done", **place, field_: item[field_]})
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [(event["type"], event | {"sequence_number": at}) for at, event in enumerate(events)]


def messages_reply(conversation, reply):
    """The answer of /v1/messages."""
    total, cached, output = usage_of(conversation, reply)
    cached = cached if "cache_control" in json.dumps(conversation.body) else 0
    usage = {"input_tokens": total - cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached, "output_tokens": output}
    blocks = [{"type": "text", "text": reply.text}] if reply.text else []
    blocks += [{"type": "tool_use", "id": ids(conversation, "toolu", at), "name": name, "input": arguments} for at, (name, arguments) in enumerate(reply.calls)]
    end = "tool_use" if reply.calls else "end_turn"
    whole = {"id": ids(conversation, "msg"), "type": "message", "role": "assistant", "model": conversation.model, "content": blocks,
             "stop_reason": end, "stop_sequence": None, "usage": usage}
    if not conversation.stream:
        return whole
    events = [{"type": "message_start", "message": whole | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}}]
    for at, block in enumerate(blocks):
        if block["type"] == "text":
            start, deltas = block | {"text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        else:
            start, deltas = block | {"input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(json.dumps(block["input"]))]
        events.append({"type": "content_block_start", "index": at, "content_block": start})
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": at})
    events.append({"type": "message_delta", "delta": {"stop_reason": end, "stop_sequence": None}, "usage": {"output_tokens": output}})
    events.append({"type": "message_stop"})
    return [(event["type"], event) for event in events]


DIALECTS = {
    "/chat/completions": ("chat", chat_request, chat_reply),
    "/responses": ("responses", responses_request, responses_reply),
    "/messages": ("messages", messages_request, messages_reply),
}
