"""Takes and returns JSON, and says what it knows of its invocation."""


def describe(context):
    return {
        "name": context.function_name,
        "version": context.function_version,
        "memory": context.memory_limit,
        "in-time": 0 < context.remaining_time_ms() <= 30000,
        "numbered": context.request_id > 0,
    }


def loop():
    value = []
    value.append(value)
    return value


def handler(event, context):
    if isinstance(event, bytes):
        return event[::-1]
    if event == "context":
        return describe(context)
    if event == "set":
        return {"unencodable": {1}}
    if event == "loop":
        return loop()
    return {"event": event, "big": 2**70, "list": (1, 2.5, None, True), 3: "é"}
