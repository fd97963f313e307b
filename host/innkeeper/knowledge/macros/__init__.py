"""Macros in texts: a small engine that cannot loop.

`engine.render` carries them out; `story.render_story` is for the story strings of text presets.
"""
