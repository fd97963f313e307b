// Nodes that ask knowledge bases. A string that is thrown becomes the node's error as it is.

const KINDS = { boolean: "a boolean", number: "a number", object: "an object", string: "text" };

function kindOf(value) {
    if (value === null || value === undefined) return "nothing";
    return Array.isArray(value) ? "an array" : KINDS[typeof value];
}

// What the host refused, as a sentence for whoever made the workflow.
function ask(operation, given) {
    try {
        return innkeeper.call(operation, given);
    } catch (error) {
        if (error.name !== "BridgeError") throw error;
        if (error.kind === "denied") throw `${error.message}: grant it with innkeeper grant`;
        throw `${operation}: ${error.message}`;
    }
}

// ---- Inputs ----------------------------------------------------------------------------------------------------

// A node's own setting, unless something is wired to the slot of its name.
function given({ inputs = {}, config = {} }, name) {
    return inputs[name] ?? config[name];
}

function textOf(call, name, fallback = "") {
    const value = given(call, name);
    if (value === null || value === undefined) return fallback;
    if (typeof value === "object") throw `input '${name}' is ${kindOf(value)}, not text`;
    return String(value);
}

function numberOf(call, name, fallback) {
    const value = given(call, name);
    if (value === null || value === undefined || value === "") return fallback;
    const number = Number(value);
    if (!Number.isFinite(number)) throw `input '${name}' is ${kindOf(value)}, not a number`;
    return number;
}

function wholeOf(call, name, fallback) {
    const number = numberOf(call, name, fallback);
    return number === undefined || number === null ? fallback : Math.trunc(number);
}

function flagOf(call, name, fallback) {
    const value = given(call, name);
    return value === null || value === undefined ? fallback : value === true || value === "true" || value === 1;
}

// JSON text or the value itself.
function parsed(call, name) {
    const value = given(call, name);
    if (typeof value !== "string") return value ?? undefined;
    if (value.trim() === "") return undefined;
    try {
        return JSON.parse(value);
    } catch (error) {
        throw `input '${name}' is not JSON: ${error.message}`;
    }
}

function listOf(call, name) {
    const value = parsed(call, name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw `input '${name}' is ${kindOf(value)}, not an array`;
    return value;
}

function mapOf(call, name) {
    const value = parsed(call, name);
    if (value === undefined) return {};
    if (kindOf(value) !== "an object") throw `input '${name}' is ${kindOf(value)}, not an object`;
    return value;
}

// Names separated by commas, or an array of them.
function namesOf(call, name) {
    const value = given(call, name);
    if (typeof value === "string" && !value.trim().startsWith("[")) {
        return value.split(",").map((each) => each.trim()).filter(Boolean);
    }
    return listOf(call, name).map(String);
}

function resourceOf(value) {
    return kindOf(value) === "an object" ? value.id ?? value.source_id ?? value.path : value;
}

function basesOf(call) {
    const value = given(call, "knowledgeBase") ?? given(call, "reference");
    const list = Array.isArray(value) ? value : typeof value === "string" ? value.split(",") : [value];
    const bases = list.map(resourceOf).filter((each) => each !== null && each !== undefined && each !== "");
    if (bases.length === 0) throw "input 'knowledgeBase' is missing: choose a knowledge base";
    return bases.map((each) => String(each).trim());
}

function baseOf(call) {
    const bases = basesOf(call);
    if (bases.length > 1) throw "input 'knowledgeBase' names several: this node asks one";
    return bases[0];
}

const ROLES = new Set(["system", "user", "assistant"]);

function messageOf(value, label) {
    if (typeof value === "string") return { role: "user", content: value };
    if (kindOf(value) !== "an object") throw `${label} is ${kindOf(value)}, not a message`;
    const content = value.content ?? value.mes ?? value.message ?? "";
    const text = Array.isArray(content) ? content.map((part) => part?.text ?? "").join("") : content;
    if (typeof text !== "string") throw `${label}: its content is ${kindOf(text)}, not text`;
    const role = value.role ?? (value.is_system ? "system" : value.is_user === false ? "assistant" : "user");
    if (!ROLES.has(role)) throw `${label}: its role is '${role}', not system, user or assistant`;
    return { role, content: text, name: typeof value.name === "string" ? value.name : "" };
}

function messagesOf(call, name) {
    const value = given(call, name);
    if (typeof value === "string" && !/^\s*[[{]/.test(value)) return value === "" ? [] : [messageOf(value, name)];
    const list = parsed(call, name);
    if (list === undefined) return [];
    return (Array.isArray(list) ? list : [list]).map((each, index) => messageOf(each, `message ${index + 1} of '${name}'`));
}

// ---- Outputs ---------------------------------------------------------------------------------------------------

// The design's name of a list of entries.
function withText(entries) {
    return { caiu_list: entries, text: entries.map((entry) => entry.text ?? entry.content).join("\n\n") };
}

function found(call, mode, more) {
    const answer = ask("kb.search", {
        base: baseOf(call),
        mode,
        k: wholeOf(call, "k", 10),
        tags: namesOf(call, "tags"),
        types: namesOf(call, "types"),
        session: textOf(call, "session"),
        ...more,
    });
    const least = numberOf(call, "minimum", undefined);
    const hits = least === undefined ? answer.hits : answer.hits.filter((hit) => (hit.cosine ?? hit.score) >= least);
    return { ...withText(hits), notes: answer.notes };
}

// Columns that a text takes in a terminal: ideographs, kana, hangul and full-width forms take two.
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/gu;

function widthOf(text) {
    return [...text].length + (text.match(WIDE)?.length ?? 0);
}

// One line an entry, for people.
function explained(answer) {
    const rows = answer.trace.map((line) => [
        line.outcome,
        line.name,
        line.tokens === null ? "" : String(line.tokens),
        line.budget === null ? "" : String(line.budget),
        line.reason,
    ]);
    const table = [["outcome", "entry", "tokens", "left", "why"], ...rows];
    const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => widthOf(row[column]))));
    const padded = (cell, at) => (at < 4 ? cell + " ".repeat(widths[at] - widthOf(cell)) : cell);
    const lines = table.map((row) => row.map(padded).join("  ").trimEnd());
    return [...lines, ...answer.notes.map((note) => `note: ${note}`)].join("\n");
}

function activated(call, settings) {
    const bases = basesOf(call);
    const messages = messagesOf(call, "history_messages");
    messages.push(...messagesOf(call, "current_user_input"));
    const state = stateOf(call);
    const budget = wholeOf(call, "budget", null);
    const seed = wholeOf(call, "seed", null);
    const answer = ask("kb.activate", {
        bases,
        messages,
        profile: textOf(call, "profile", "native"),
        texts: { ...state.texts, ...mapOf(call, "texts") },
        scan_depth: wholeOf(call, "scanDepth", 4),
        budget: budget === 0 ? null : budget,
        recursion: wholeOf(call, "recursion", 3),
        variables: { ...state.variables, ...mapOf(call, "variables") },
        session: textOf(call, "session"),
        seed,
        trigger: textOf(call, "trigger", "normal"),
        character: textOf(call, "character", state.character),
        user: textOf(call, "user", state.user),
        scope: namesOf(call, "tags"),
        force: namesOf(call, "force"),
        dry_run: flagOf(call, "dryRun", false),
        settings: { ...mapOf(call, "settings"), ...settings },
        trace: flagOf(call, "wholeTrace", false) ? "all" : "active",
    });
    return {
        ...withText(answer.active),
        trace: answer.trace,
        explanation: explained(answer),
        variables: answer.variables,
        tokens: answer.tokens,
    };
}

// ---- Nodes -----------------------------------------------------------------------------------------------------

// kb:StaticKnowledgeBase gives entries whatever the conversation is about.
export function static_knowledge_base(call) {
    const own = listOf(call, "entries");
    if (own.length > 0) return withText(own.map(entryOf).sort((one, other) => one.priority - other.priority));
    const base = baseOf(call);
    const most = wholeOf(call, "limit", 1000);
    const entries = [];
    const asked = { base, tags: namesOf(call, "tags"), types: namesOf(call, "types"), disabled: false, contents: true };
    for (let after = ""; entries.length < most; ) {
        const limit = Math.min(100, most - entries.length);
        const page = ask("kb.list", { ...asked, after, limit, session: textOf(call, "session") }).entries;
        entries.push(...page);
        if (page.length < limit) break;
        after = page[page.length - 1].id;
    }
    return withText(entries.sort((one, other) => one.priority - other.priority));
}

// kb:KeywordMatcher activates by words alone.
export function keyword_matcher(call) {
    return activated(call, { semantic: false });
}

// kb:Activate activates by all that entries ask for.
export function activate(call) {
    return activated(call, {});
}

// kb:EmbeddingGeneration makes vectors by the model of a base.
export function embedding_generation(call) {
    const value = given(call, "texts");
    const texts = Array.isArray(value) ? value : [textOf(call, "texts")];
    for (const [index, text] of texts.entries()) {
        if (typeof text !== "string") throw `item ${index + 1} of input 'texts' is ${kindOf(text)}, not text`;
    }
    const base = baseOf(call);
    const answer = { model: "", vectors: [] };
    for (let at = 0; at < texts.length; at += 64) {
        const part = ask("kb.embed", { base, texts: texts.slice(at, at + 64) });
        answer.model = part.model;
        answer.vectors.push(...part.vectors);
    }
    return { vectors: answer.vectors, vector: answer.vectors[0] ?? [], model: answer.model };
}

// kb:VectorSearch finds what is near to a vector.
export function vector_search(call) {
    let vector = parsed(call, "vector");
    if (Array.isArray(vector?.[0])) vector = vector[0];
    if (!Array.isArray(vector) || vector.length === 0) throw `input 'vector' is ${kindOf(vector)}, not a vector`;
    return found(call, "semantic", { vector });
}

// kb:SemanticRetriever finds what means the same.
export function semantic_retriever(call) {
    return found(call, "semantic", { query: textOf(call, "query").slice(0, 2000) });
}

// kb:HybridSearch finds by words and by meaning.
export function hybrid_search(call) {
    return found(call, textOf(call, "mode", "hybrid"), { query: textOf(call, "query").slice(0, 2000) });
}

// kb:RAGSource gives what a question needs to be answered, with numbers to cite.
export function rag_source(call) {
    const query = textOf(call, "query");
    if (query.trim() === "") throw "input 'query' is missing";
    const { caiu_list: entries, notes } = found(call, "hybrid", { query: query.slice(0, 2000) });
    const header = textOf(call, "header", "Answer from these sources, and name them by their numbers:");
    const lines = entries.map((entry, index) => `[${index + 1}] ${entry.title || entry.id}\n${entry.content}`);
    const sources = entries.map((entry, index) => ({
        number: index + 1,
        id: entry.id,
        title: entry.title,
        score: entry.score,
        source: entry.source,
    }));
    return { caiu_list: entries, context: lines.length === 0 ? "" : [header, ...lines].join("\n\n"), sources, notes };
}

// kb:ContextAssembler makes the messages for a model of everything that was gathered.
const LISTS = ["persona_caiu_list", "lore_caiu_list_main", "lore_caiu_list_aux"];

export function context_assembler(call) {
    const seen = new Set();
    const active = [];
    for (const name of LISTS) {
        for (const entry of [given(call, name) ?? []].flat(3)) {
            if (entry === null || entry === undefined) continue;
            if (kindOf(entry) !== "an object") throw `input '${name}' holds ${kindOf(entry)}, not an entry`;
            const one = asActive(entry);
            const key = JSON.stringify([one.base, one.entry, one.text]);
            if (!seen.has(key)) active.push(one);
            seen.add(key);
        }
    }
    const state = stateOf(call);
    const texts = { ...state.texts, ...mapOf(call, "texts") };
    for (const [index, text] of [given(call, "static_text_inputs") ?? []].flat(2).entries()) {
        if (text !== null && text !== undefined) texts[`static_text_${index}`] = String(text);
    }
    const template = parsed(call, "template");
    const form = textOf(call, "form", template?.output === "single_string" ? "text" : "messages");
    const budget = wholeOf(call, "budget", 0);
    const answer = ask("kb.assemble", {
        active,
        history: messagesOf(call, "history_messages"),
        texts,
        user_input: textOf(call, "current_user_input"),
        template: template ?? null,
        budget: budget === 0 ? null : budget,
        form,
        tokenizer: textOf(call, "tokenizer"),
        parameters: mapOf(call, "llm_parameters"),
    });
    const prompt = answer.messages.map((each) => `${each.role}: ${shownContent(each.content)}`).join("\n\n");
    return {
        prompt_data: answer.text ?? JSON.stringify(answer.messages),
        prompt: answer.text ?? prompt,
        llm_parameters: answer.parameters,
        tokens: answer.tokens,
        report: answer.report,
        notes: answer.notes,
    };
}

function shownContent(content) {
    return typeof content === "string" ? content : content.map((part) => part.text ?? `(${part.type})`).join(" ");
}

// An entry's document as what is active: it was chosen by other means than activation.
function entryOf(document) {
    if (kindOf(document) !== "an object") throw `input 'entries' holds ${kindOf(document)}, not an entry`;
    const usage = document.usage_metadata ?? {};
    return {
        base: "",
        entry: String(document.id ?? ""),
        name: String(document.displayName ?? document.id ?? ""),
        text: String(document.content?.value ?? ""),
        priority: usage.priority ?? 100,
        placement: usage.placement ?? "before_prompt",
        role: usage.role ?? null,
        depth: usage.depth_offset ?? null,
        outlet: "",
        tokens: 0,
        exclude_from_history: usage.exclude_from_history === true,
        media: null,
        tags: document.management_metadata?.tags ?? [],
        entry_type: document.entry_type ?? "",
        critical: usage.token_budget_impact === "critical",
    };
}

// What a search found is inserted like what is active.
function asActive(entry) {
    if (typeof entry.text === "string") return entry;
    if (kindOf(entry.content) === "an object") return entryOf(entry);
    return {
        ...entryOf({ id: entry.id, displayName: entry.title, content: { value: entry.content } }),
        base: entry.base ?? "",
        priority: entry.priority ?? 100,
    };
}

// What is known of the session: names, texts by the assembler's names of them, variables. Its parts may be a
// character card's fields, as core:CharacterCardLoader gives them.
const TEXTS = {
    description: "character_description",
    personality: "character_personality",
    scenario: "scenario",
    mes_example: "examples",
    creator_notes: "creator_notes",
    system_prompt: "system",
    post_history_instructions: "post_history",
    persona: "persona_description",
};

function stateOf(call) {
    const state = { texts: {}, variables: {}, character: "", user: "" };
    const parts = [given(call, "session_state") ?? []].flat(2);
    for (const value of parts) {
        const part = parsed({ inputs: { session_state: value } }, "session_state");
        if (kindOf(part) !== "an object") continue;
        for (const [key, value] of Object.entries(part)) {
            if (key === "variables" && kindOf(value) === "an object") Object.assign(state.variables, value);
            else if (key === "texts" && kindOf(value) === "an object") Object.assign(state.texts, value);
            else if (typeof value !== "string") continue;
            else if (key === "name" || key === "char") state.character = value;
            else if (key === "user") state.user = value;
            else state.texts[TEXTS[key] ?? key] = value;
        }
    }
    return state;
}

// kb:VariableApplicator puts values in the place of {{name}} and carries out macros; what is unknown stays.
export function variable_applicator(call) {
    const state = stateOf(call);
    const answer = ask("kb.render", {
        template: textOf(call, "template"),
        syntax: textOf(call, "syntax", "macros"),
        character: textOf(call, "character", state.character),
        user: textOf(call, "user", state.user),
        values: { ...state.texts, ...mapOf(call, "values") },
        variables: { ...state.variables, ...mapOf(call, "variables") },
        seed: wholeOf(call, "seed", null),
    });
    return { text: answer.text, variables: answer.variables, note: answer.note };
}

// kb:DynamicRegexApplicator applies rules that another node made, each to what the one before it gave.
export function dynamic_regex_applicator(call) {
    let text = textOf(call, "text");
    const applied = [];
    for (const [index, rule] of listOf(call, "rules").entries()) {
        const label = `rule ${index + 1} of input 'rules'`;
        if (kindOf(rule) !== "an object") throw `${label} is ${kindOf(rule)}, not an object`;
        for (const key of ["pattern", "replacement"]) {
            if (typeof rule[key] !== "string") throw `${label}: its '${key}' is ${kindOf(rule[key])}, not text`;
        }
        if (rule.enabled === false) continue;
        let pattern;
        try {
            pattern = new RegExp(rule.pattern, rule.flags ?? "g");
        } catch (error) {
            throw `${label} is no regular expression: ${error.message}`;
        }
        const changed = text.replace(pattern, rule.replacement);
        if (changed !== text) applied.push(rule.name ?? index + 1);
        text = changed;
    }
    return { text: text.toWellFormed(), applied };
}
