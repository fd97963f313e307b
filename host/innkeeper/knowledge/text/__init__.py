"""The terms under which texts are found."""
