"""Uncertainty: how sure an answer is, which part of the doubt is whose, and what that is worth."""
