"""Dialogues, prompts and tokenised examples."""
