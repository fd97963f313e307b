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

// What the node's configuration says goes before what is wired or preset: a slot that nobody gave anything has the
// empty value of its type, which cannot be told from one that was meant.
function given({ inputs = {}, config = {} }, name) {
    return config[name] ?? inputs[name];
}

function textOf(call, name, fallback = "") {
    const value = given(call, name);
    if (value === null || value === undefined) return fallback;
    if (typeof value === "object") throw `input '${name}' is ${kindOf(value)}, not text`;
    return String(value) || fallback;
}

function numberOf(call, name, fallback) {
    const value = given(call, name);
    if (value === null || value === undefined || value === "") return fallback;
    const number = typeof value === "object" ? NaN : Number(value);
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
    const value = given(call, "knowledgeBase") || given(call, "reference");
    const list = Array.isArray(value) ? value : typeof value === "string" ? value.split(",") : [value];
    const bases = list.map(resourceOf).map((each) => (typeof each === "string" ? each.trim() : each));
    const named = bases.filter((each) => each !== null && each !== undefined && each !== "");
    if (named.length === 0) throw "input 'knowledgeBase' is missing: choose a knowledge base";
    for (const each of named) {
        if (typeof each !== "string") throw `input 'knowledgeBase' is ${kindOf(each)}, not the id of a knowledge base`;
    }
    return named;
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
    // Of a message in parts its texts: pictures of a conversation are not passed on.
    const text = Array.isArray(content) ? content.map((part) => part?.text ?? "").join("") : content ?? "";
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
    return { caiu_list: entries, text: entries.map((entry) => entry.text).join("\n\n") };
}

// Entries with their whole documents, page by page; the last page is an empty one.
function wholeEntries(asked, most) {
    const entries = [];
    for (let after = ""; entries.length < most; ) {
        const limit = Math.min(100, most - entries.length);
        const page = ask("kb.list", { ...asked, whole: true, after, limit }).entries;
        if (page.length === 0) break;
        entries.push(...page);
        after = page[page.length - 1].id;
    }
    return entries;
}

function found(call, mode, more) {
    const [base, session] = [baseOf(call), textOf(call, "session")];
    const answer = ask("kb.search", {
        base,
        mode,
        k: wholeOf(call, "k", 10),
        tags: namesOf(call, "tags"),
        types: namesOf(call, "types"),
        session,
        ...more,
    });
    const least = numberOf(call, "minimum", 0);
    const hits = least === 0 ? answer.hits : answer.hits.filter((hit) => (hit.cosine ?? hit.score) >= least);
    if (hits.length === 0) return { ...withText([]), notes: answer.notes };
    // Where they go, whose words they are and what lies beside them stands in their documents.
    const documents = new Map();
    for (const entry of wholeEntries({ base, session, ids: hits.map((hit) => hit.id) }, hits.length)) {
        documents.set(entry.id, entry.document);
    }
    const entries = hits.map((hit) => ({
        ...entryOf({ content: { value: hit.content }, ...documents.get(hit.id) }, base, "the knowledge base"),
        ...hit,
    }));
    return { ...withText(entries), notes: answer.notes };
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
    const budget = wholeOf(call, "budget", 0);
    const seed = wholeOf(call, "seed", 0);
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
        seed: seed === 0 ? null : seed,
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
    if (own.length > 0) return withText(inOrder(own.map((each) => entryOf(each, "", "input 'entries'"))));
    const [base, session] = [baseOf(call), textOf(call, "session")];
    const asked = { base, session, tags: namesOf(call, "tags"), types: namesOf(call, "types"), disabled: false };
    const entries = wholeEntries(asked, wholeOf(call, "limit", 1000));
    return withText(inOrder(entries.map(({ document, ...head }) => ({
        ...entryOf(document, base, "the knowledge base"),
        ...head,
    }))));
}

// The most important last, as in a prompt.
function inOrder(entries) {
    return entries.sort((one, other) => one.priority - other.priority);
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
    const base = baseOf(call);
    if (ask("kb.info", { base }).model === null) {
        throw `the knowledge base '${base}' has no vectors: innkeeper kb embed makes them`;
    }
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
    const lines = entries.map((entry, index) => `[${index + 1}] ${entry.title || entry.id}\n${entry.text}`);
    const sources = entries.map((entry, index) => ({
        number: index + 1,
        id: entry.id,
        title: entry.title,
        score: entry.score,
        source: entry.source,
    }));
    const context = lines.length === 0 ? "" : [header, ...lines].filter(Boolean).join("\n\n");
    return { caiu_list: entries, context, sources, notes };
}

// kb:ContextAssembler makes the messages for a model of everything that was gathered.
const LISTS = ["persona_caiu_list", "lore_caiu_list_main", "lore_caiu_list_aux"];

export function context_assembler(call) {
    const state = stateOf(call);
    const said = new Rendering(state);
    const seen = new Set();
    const active = [];
    for (const name of LISTS) {
        for (const entry of [given(call, name) ?? []].flat(3)) {
            if (entry === null || entry === undefined) continue;
            if (kindOf(entry) !== "an object") throw `input '${name}' holds ${kindOf(entry)}, not an entry`;
            const one = asActive(entry, `input '${name}'`);
            const key = JSON.stringify([one.base, one.entry, one.text]);
            // Macros of a base's entries are the activation's; those of the workflow's own entries nobody has seen.
            if (!seen.has(key)) active.push(asAsked(one.base === "" ? { ...one, text: said.of(one.text) } : one));
            seen.add(key);
        }
    }
    const { examples, ...texts } = { ...said.all(state.texts), ...mapOf(call, "texts") };
    for (const [index, text] of [given(call, "static_text_inputs") ?? []].flat(2).entries()) {
        if (text !== null && text !== undefined) texts[`static_text_${index}`] = String(text);
    }
    const template = mapOf(call, "template");
    const form = textOf(call, "form", template.output === "single_string" ? "text" : "messages");
    const budget = wholeOf(call, "budget", 0);
    const answer = ask("kb.assemble", {
        active,
        history: messagesOf(call, "history_messages"),
        texts,
        user_input: textOf(call, "current_user_input"),
        examples: dialoguesOf(examples),
        template: Object.keys(template).length === 0 ? null : template,
        budget: budget === 0 ? null : budget,
        form: template.output === "single_string" ? "text" : form,
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

// The fields that kb.assemble reads: with all that a search says of an entry a long list would not be taken.
const ASKED = [
    "base", "entry", "name", "text", "priority", "placement", "role", "depth", "outlet", "tokens",
    "exclude_from_history", "media", "tags", "entry_type", "critical",
];

function asAsked(entry) {
    return Object.fromEntries(ASKED.filter((key) => entry[key] !== undefined).map((key) => [key, entry[key]]));
}

// A card's examples of dialogue: each begins at a line with <START>.
function dialoguesOf(examples) {
    if (typeof examples !== "string") return [];
    return examples.split(/^[ \t]*<START>[ \t]*$/im).map((each) => each.trim()).filter(Boolean).slice(0, 100);
}

function shownContent(content) {
    return typeof content === "string" ? content : content.map((part) => part.text ?? `(${part.type})`).join(" ");
}

const KEPT = { placement: "string", role: "string", depth_offset: "number", priority: "number" };

// An entry's document as what is active: it was chosen by other means than activation.
function entryOf(document, base, where) {
    if (kindOf(document) !== "an object") throw `${where} holds ${kindOf(document)}, not an entry`;
    const name = String(document.displayName ?? document.id ?? "");
    const content = document.content ?? {};
    if (typeof (content.value ?? "") !== "string") {
        throw `${where}, entry '${name}': its content.value is ${kindOf(content.value)}, not text`;
    }
    const usage = document.usage_metadata ?? {};
    for (const [key, kind] of Object.entries(KEPT)) {
        const value = usage[key] ?? null;
        if (value !== null && typeof value !== kind) {
            throw `${where}, entry '${name}': its usage_metadata.${key} is ${kindOf(value)}, not ${KINDS[kind]}`;
        }
    }
    const around = (affix) => (affix?.is_enabled === true && typeof affix.text === "string" ? affix.text : "");
    const media = typeof content.path === "string" && content.path !== "";
    return {
        base,
        entry: String(document.id ?? ""),
        name,
        text: around(usage.prefix) + (content.value ?? "") + around(usage.suffix),
        priority: usage.priority ?? 100,
        placement: usage.placement ?? "before_prompt",
        role: usage.role ?? null,
        depth: usage.depth_offset ?? null,
        outlet: "",
        tokens: 0,
        exclude_from_history: usage.exclude_from_history === true,
        media: media ? [content.path, String(content.mime_type ?? "text/plain")] : null,
        tags: [document.management_metadata?.tags ?? []].flat().map(String),
        entry_type: String(document.entry_type ?? ""),
        critical: usage.token_budget_impact === "critical",
    };
}

// Of what is in a list of entries, the assembler's form.
function asActive(entry, where) {
    if (typeof entry.text === "string") return { base: "", entry: "", ...entry };
    if (kindOf(entry.content) === "an object") return entryOf(entry, "", where);
    // An entry as kb.search and kb.get give it.
    const { id, title, content, priority } = entry;
    const usage_metadata = { priority };
    return entryOf({ id, displayName: title, content: { value: content }, usage_metadata }, entry.base ?? "", where);
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
    for (const value of [given(call, "session_state") ?? []].flat(2)) {
        const part = parsed({ inputs: { session_state: value } }, "session_state");
        if (part === undefined) continue;
        if (kindOf(part) !== "an object") throw `input 'session_state' holds ${kindOf(part)}, not an object`;
        for (const [key, value] of Object.entries(part)) {
            if (key === "variables" && kindOf(value) === "an object") Object.assign(state.variables, value);
            else if (key === "texts" && kindOf(value) === "an object") Object.assign(state.texts, textsIn(value));
            else if (typeof value !== "string") continue;
            else if (key === "name" || key === "char") state.character = value;
            else if (key === "user") state.user = value;
            else state.texts[TEXTS[key] ?? key] = value;
        }
        // A card that goes by another name than its own.
        if (typeof part.nickname === "string" && part.nickname !== "") state.character = part.nickname;
    }
    return state;
}

function textsIn(map) {
    return Object.fromEntries(Object.entries(map).filter(([, value]) => typeof value === "string"));
}

// What macros call the texts of a session.
const MACROS = {
    character_description: ["description"],
    character_personality: ["personality"],
    scenario: ["scenario"],
    persona_description: ["persona"],
    examples: ["mesExamples", "mesExamplesRaw"],
    system: ["system", "charPrompt"],
    post_history: ["charInstruction"],
    creator_notes: ["charCreatorNotes"],
};

function macroValues(state) {
    const values = { ...state.texts };
    for (const [text, names] of Object.entries(MACROS)) {
        if (state.texts[text] === undefined) continue;
        for (const name of names) values[name] = state.texts[text];
    }
    return values;
}

// Carries out macros with what is known of the session.
class Rendering {
    constructor(state) {
        this.given = { character: state.character, user: state.user, values: macroValues(state), variables: state.variables };
    }

    of(text) {
        return text.includes("{{") ? ask("kb.render", { ...this.given, template: text }).text : text;
    }

    all(texts) {
        return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, this.of(text)]));
    }
}

// kb:VariableApplicator puts values in the place of {{name}} and carries out macros; what is unknown stays.
export function variable_applicator(call) {
    const state = stateOf(call);
    const seed = wholeOf(call, "seed", 0);
    const answer = ask("kb.render", {
        template: textOf(call, "template"),
        syntax: textOf(call, "syntax", "macros"),
        character: textOf(call, "character", state.character),
        user: textOf(call, "user", state.user),
        values: { ...macroValues(state), ...loreOf(call), ...mapOf(call, "values") },
        variables: { ...state.variables, ...mapOf(call, "variables") },
        seed: seed === 0 ? null : seed,
    });
    return { text: answer.text, variables: answer.variables, note: answer.note };
}

// What story strings call active entries: those before and behind the character, as a text each.
function loreOf(call) {
    const active = [given(call, "caiu_list") ?? []].flat(3).filter((each) => each !== null && each !== undefined);
    for (const each of active) {
        if (kindOf(each) !== "an object") throw `input 'caiu_list' holds ${kindOf(each)}, not an entry`;
    }
    const entries = active.map((each) => asActive(each, "input 'caiu_list'"));
    const flat = inOrder(entries.filter((each) => each.depth === null && each.outlet === ""));
    const said = (placement) => flat.filter((each) => each.placement === placement).map((each) => each.text).join("\n");
    const [before, after] = [said("before_prompt"), said("after_prompt")];
    const values = { wiBefore: before, loreBefore: before, wiAfter: after, loreAfter: after };
    return Object.fromEntries(Object.entries(values).filter(([, text]) => text !== ""));
}

// kb:DynamicRegexApplicator applies rules that another node made, each to what the one before it gave.
export function dynamic_regex_applicator(call) {
    let text = textOf(call, "text");
    const applied = [];
    for (const [index, rule] of listOf(call, "rules").entries()) {
        const label = `rule ${index + 1} of input 'rules'`;
        if (kindOf(rule) !== "an object") throw `${label} is ${kindOf(rule)}, not an object`;
        for (const [key, value] of Object.entries({ flags: "g", ...rule, pattern: rule.pattern, replacement: rule.replacement })) {
            if (!["pattern", "replacement", "flags"].includes(key) || typeof value === "string") continue;
            throw `${label}: its '${key}' is ${kindOf(value)}, not text`;
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
