"""To the Hub: the information of a run, its model card, and the push."""
