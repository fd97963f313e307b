// Nodes for texts and chat messages. A string that is thrown becomes the node's error as it is.

const KINDS = { boolean: "a boolean", number: "a number", object: "an object", string: "text" };

function kindOf(value) {
    if (value === null || value === undefined) return "nothing";
    return Array.isArray(value) ? "an array" : KINDS[typeof value];
}

// A text input; numbers and booleans may be wired to it as well.
function textOf(value, slot, fallback) {
    if (value === null || value === undefined) {
        if (fallback === undefined) throw `input '${slot}' is missing`;
        return fallback;
    }
    if (typeof value === "object") throw `input '${slot}' is ${kindOf(value)}, not text`;
    return String(value);
}

function rulesOf(value, slot) {
    if (value === null || value === undefined) return [];
    if (!Array.isArray(value)) throw `input '${slot}' is ${kindOf(value)}, not an array of rules`;
    return value.map((rule, index) => {
        const label = `rule ${index + 1} of input '${slot}'`;
        if (kindOf(rule) !== "an object") throw `${label} is ${kindOf(rule)}, not an object`;
        for (const key of ["pattern", "replacement"]) {
            if (typeof rule[key] !== "string") throw `${label}: its '${key}' is ${kindOf(rule[key])}, not text`;
        }
        for (const key of ["name", "flags"]) {
            const given = rule[key] ?? "";
            if (typeof given !== "string") throw `${label}: its '${key}' is ${kindOf(given)}, not text`;
        }
        const name = rule.name?.length > 60 ? `${rule.name.slice(0, 60)}...` : rule.name;
        return { ...rule, label: name ? `${label}, '${name}',` : label };
    });
}

// core:ApplyRegex applies rules in turn, each to what the one before it gave. Of rules with one name the first wins,
// also where it is disabled: that is how an inline rule switches a loaded one off.
export function apply_regex({ inputs = {} }) {
    let text = textOf(inputs.inputText, "inputText");
    const seen = new Set();
    const rules = [
        ...rulesOf(inputs.inlineRegexRules, "inlineRegexRules"),
        ...rulesOf(inputs.regexRules, "regexRules"),
    ];
    for (const rule of rules) {
        if (rule.name) {
            if (seen.has(rule.name)) continue;
            seen.add(rule.name);
        }
        if (rule.enabled === false) continue;
        let pattern;
        try {
            pattern = new RegExp(rule.pattern, rule.flags ?? "");
        } catch (error) {
            throw `${rule.label} is no regular expression: ${error.message}`;
        }
        text = text.replace(pattern, rule.replacement);
    }
    // A pattern without the flag 'u' can cut a character in two; halves are not text for anyone else.
    return { outputText: text.toWellFormed() };
}

// core:CreateMessage makes a list of one chat message.
export function create_message({ inputs = {} }) {
    const role = textOf(inputs.role, "role", "") || "user";
    const content = textOf(inputs.content, "content", "");
    return { messages: JSON.stringify([{ role, content }]) };
}

function messagesOf(value, label) {
    let list = value;
    if (typeof value === "string") {
        if (value.trim() === "") return [];
        try {
            list = JSON.parse(value);
        } catch (error) {
            throw `${label} is not JSON: ${error.message}`;
        }
    }
    if (list === null || list === undefined) return [];
    if (!Array.isArray(list)) list = [list];
    for (const message of list) {
        if (kindOf(message) !== "an object") throw `${label} holds ${kindOf(message)} where a message should be`;
    }
    return list;
}

// core:MergeMessages puts lists of messages, and single ones, into one list.
export function merge_messages({ inputs = {} }) {
    const given = inputs.message_inputs ?? [];
    // A single text is one list; an array has one entry for each edge, unless messages themselves came.
    const parts = Array.isArray(given) ? given : [given];
    const merged = parts.flatMap((part, index) =>
        messagesOf(part, `input 'message_inputs' (number ${index + 1} of ${parts.length})`),
    );
    return { messages: JSON.stringify(merged) };
}
