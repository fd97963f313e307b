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
        if (error.kind === "denied") throw `${error.message}: grant it with innkeeper grant`;
        throw `${operation}: ${error.message}`;
    }
}

// A resource as an editor keeps it: its id or path, or an object with one.
function resourceOf({ inputs = {}, config = {} }, name) {
    const value = config[name] ?? inputs[name];
    const found = kindOf(value) === "an object" ? value.id ?? value.path ?? value.source_id : value;
    if (typeof found !== "string" || found.trim() === "") throw `'${name}' is not chosen: give it in the node's configuration`;
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

function readText(resource) {
    try {
        return innkeeper.readFile(pathOf(resource)).replace(/^\uFEFF/, "");
    } catch (error) {
        if (typeof error === "string") throw error;
        const advice = error.message.includes("no folder") ? ": grant files.read:user:// and set files.roots.user" : "";
        throw `'${resource}': ${error.message}${advice}`;
    }
}

function readJson(resource) {
    const text = readText(resource);
    try {
        return JSON.parse(text);
    } catch (error) {
        throw `'${resource}' is not JSON: ${error.message}`;
    }
}

function wholeBase(base) {
    const entries = [];
    for (let after = ""; ; ) {
        // Long entries make a page shorter: the last page is an empty one.
        const page = ask("kb.list", { base, after, limit: 100, whole: true }).entries;
        if (page.length === 0) return entries;
        entries.push(...page.map(({ document }) => document));
        after = page[page.length - 1].id;
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

// Fields that can hold a secret, or an address that one is sent to, at any depth: as the host reads presets.
const SECRET_NAMES = new Set([
    "reverse_proxy", "proxy_password", "custom_url", "custom_include_headers", "custom_include_body",
    "custom_exclude_body", "azure_base_url", "vertexai_express_project_id", "vertexai_service_account_json",
]);
const SECRET_WORDS = new RegExp(
    "(?:^|_)(?:api_?key|key_id|password|passwd|passphrase|secrets?|credentials?|authorization|bearer|cookie|" +
        "(?:access|auth|refresh|session|id)_token|private_key)(?:$|_)",
);

function isSecret(key) {
    const plain = key.slice(0, 200).replace(/([a-z0-9])(?=[A-Z])/g, "$1_").toLowerCase().replace(/[- ]/g, "_");
    return SECRET_NAMES.has(plain) || SECRET_WORDS.test(plain);
}

function withoutSecrets(value) {
    if (Array.isArray(value)) return value.map(withoutSecrets);
    if (kindOf(value) !== "an object") return value;
    const kept = Object.entries(value).filter(([key]) => !isSecret(key));
    return Object.fromEntries(kept.map(([key, item]) => [key, withoutSecrets(item)]));
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
        const messages = [];
        for (const [index, line] of readText(resource).split("\n").entries()) {
            if (line.trim() === "") continue;
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
