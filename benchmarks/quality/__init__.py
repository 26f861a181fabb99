"""How good the model, its music and the searches in a corpus are."""
