"""Knowledge bases: entries, where they are kept, which of them a conversation calls for, and what text they become."""
