// Loaders: resources of a project as values. A string that is thrown becomes the node's error as it is.

const KINDS = { boolean: "a boolean", number: "a number", object: "an object", string: "text" };

function kindOf(value) {
    if (value === null || value === undefined) return "nothing";
    return Array.isArray(value) ? "an array" : KINDS[typeof value];
}

function ask(operation, given) {
    try {
        return innkeeper.call(operation, given);
    } catch (error) {
        if (error.name !== "BridgeError") throw error;
        throw `${operation}: ${error.message}`;
    }
}

// A resource as an editor keeps it: its id or path, or an object with one.
function resourceOf({ inputs = {}, config = {} }, name) {
    const value = config[name] ?? inputs[name];
    const found = kindOf(value) === "an object" ? value.id ?? value.path ?? value.source_id : value;
    if (typeof found !== "string" || found.trim() === "") throw `'${name}' is not chosen`;
    return found.trim();
}

const SCHEMES = { "user://": "/user/", "shared://": "/shared/" };

// The place of a file for a guest: user:// is /user.
function pathOf(resource) {
    for (const [scheme, folder] of Object.entries(SCHEMES)) {
        if (resource.startsWith(scheme)) return folder + resource.slice(scheme.length).replace(/^\/+/, "");
    }
    if (resource.includes("://")) throw `'${resource}' is no file of user:// or shared://`;
    return SCHEMES["user://"] + resource.replace(/^\/+/, "");
}

function readJson(resource) {
    let text;
    try {
        text = innkeeper.readFile(pathOf(resource));
    } catch (error) {
        throw `${error.message ?? error}`;
    }
    try {
        return JSON.parse(text.replace(/^\uFEFF/, ""));
    } catch (error) {
        throw `'${resource}' is not JSON: ${error.message}`;
    }
}

function wholeBase(base) {
    const entries = [];
    for (let after = ""; ; ) {
        const page = ask("kb.list", { base, after, limit: 100 }).entries;
        if (page.length === 0) return entries;
        for (const { id } of page) entries.push(ask("kb.get", { base, id, whole: true }).document);
        after = page[page.length - 1].id;
        if (page.length < 100) return entries;
    }
}

// core:WorldBookLoader gives a knowledge base with all of its entries.
export function world_book_loader(call) {
    const base = resourceOf(call, "worldBookResource");
    const { id, name, description } = ask("kb.info", { base });
    return { worldBookData: { id, name, description, entries: wholeBase(base) } };
}

// core:CharacterCardLoader gives the card that a knowledge base was made of.
export function character_card_loader(call) {
    const base = resourceOf(call, "cardResource");
    const { extensions, name } = ask("kb.info", { base });
    const kept = extensions?.card;
    const card = kindOf(kept?.document) === "an object" ? kept.document : kept;
    if (kindOf(card) !== "an object") throw `the knowledge base '${name}' has no character card: make it with innkeeper card import`;
    const fields = kindOf(card.data) === "an object" ? card.data : card;
    return { characterData: fields };
}

// core:PresetLoader gives a preset as it is.
export function preset_loader(call) {
    const resource = resourceOf(call, "presetResource");
    const preset = readJson(resource);
    if (kindOf(preset) !== "an object") throw `'${resource}' is ${kindOf(preset)}, not a preset`;
    return { presetData: withoutSecrets(preset) };
}

const SECRETS = /(^|_)(proxy_password|password|api_?key|token|secret|reverse_proxy|custom_url|custom_include_headers|custom_include_body)$/i;

function withoutSecrets(preset) {
    return Object.fromEntries(Object.entries(preset).filter(([key]) => !SECRETS.test(key)));
}

// The messages from a chat tree's root to its active leaf.
function activeBranch(tree, resource) {
    const messages = [];
    const seen = new Set();
    for (let id = tree.activeLeafId; id !== null && id !== undefined; id = tree.nodes[id].parentId) {
        if (seen.has(id) || kindOf(tree.nodes[id]) !== "an object") throw `'${resource}' is a broken chat: node '${id}'`;
        seen.add(id);
        const { role, content, isEnabled } = tree.nodes[id];
        if (isEnabled !== false) messages.push({ role, content });
    }
    return messages.reverse();
}

function messageOf(value, label) {
    if (kindOf(value) !== "an object") throw `${label} is ${kindOf(value)}, not a message`;
    if (typeof value.mes === "string") {
        const role = value.is_system ? "system" : value.is_user ? "user" : "assistant";
        return { role, content: value.mes, name: String(value.name ?? "") };
    }
    return value;
}

// core:HistoryLoader gives the messages of a chat: a list of messages, lines of messages, or a chat tree.
export function history_loader(call) {
    const resource = resourceOf(call, "historyResource");
    if (resource.endsWith(".jsonl")) {
        const lines = innkeeper.readFile(pathOf(resource)).split("\n").filter((line) => line.trim() !== "");
        const messages = [];
        for (const [index, line] of lines.entries()) {
            let value;
            try {
                value = JSON.parse(line);
            } catch (error) {
                throw `'${resource}', line ${index + 1}: is not JSON: ${error.message}`;
            }
            // The first line of a chat says whose it is.
            if (kindOf(value) === "an object" && value.mes === undefined && value.content === undefined) continue;
            messages.push(messageOf(value, `'${resource}', line ${index + 1}`));
        }
        return { historyMessages: messages };
    }
    const history = readJson(resource);
    if (kindOf(history) === "an object" && kindOf(history.nodes) === "an object") {
        return { historyMessages: activeBranch(history, resource) };
    }
    const list = Array.isArray(history) ? history : history?.messages;
    if (!Array.isArray(list)) throw `'${resource}' holds neither messages nor a chat tree`;
    return { historyMessages: list.map((each, index) => messageOf(each, `message ${index + 1} of '${resource}'`)) };
}

// core:RegexRuleLoader gives rules for core:ApplyRegex; scripts of SillyTavern become such rules.
export function regex_rule_loader(call) {
    const resource = resourceOf(call, "ruleResource");
    const value = readJson(resource);
    const list = Array.isArray(value) ? value : value?.rules ?? value?.regex_scripts ?? [value];
    if (!Array.isArray(list)) throw `'${resource}' holds no rules`;
    return { regexRules: list.map((rule, index) => ruleOf(rule, `rule ${index + 1} of '${resource}'`)) };
}

function ruleOf(rule, label) {
    if (kindOf(rule) !== "an object") throw `${label} is ${kindOf(rule)}, not an object`;
    if (typeof rule.findRegex !== "string") {
        if (typeof rule.pattern !== "string") throw `${label}: its 'pattern' is ${kindOf(rule.pattern)}, not text`;
        return rule;
    }
    const slashed = /^\/([\s\S]*)\/([a-z]*)$/.exec(rule.findRegex);
    return {
        name: String(rule.scriptName ?? ""),
        pattern: slashed ? slashed[1] : rule.findRegex.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"),
        flags: slashed ? slashed[2] : "g",
        // {{match}} is what was found.
        replacement: String(rule.replaceString ?? "").replaceAll("{{match}}", "$$&"),
        enabled: rule.disabled !== true,
    };
}
