"""Tables, plots, the HTML report and model cards; reads result files only."""
