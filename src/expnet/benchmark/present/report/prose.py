"""What the report says whatever was measured, as HTML."""

TITLE = "Which words made the classifier decide? Methods held against what people marked"

ASKED = """
<p>A classifier reads a text and names a class: this review is negative, this sentence is ungrammatical. An
<em>attribution method</em> gives every word a score: how much did it matter for that? This report compares such
methods. <strong>ExpNet</strong>, the method this project is about, is a small network that looks at the attention of
the classifier and has learned from <em>rationales</em>, the words that people marked as the reason, which of it
matters. The others learn nothing from people; some need one prediction, some hundreds.</p>
<dl>
<dt>Plausible?</dt><dd>Do the words with high scores agree with the words that people marked? <em>Average
precision</em> is 1 if every marked word scores above every other, and about the share of marked words if scores are
random. AUROC is the chance that a marked word scores above an unmarked one, 0.5 if random.</dd>
<dt>Faithful?</dt><dd>Does the classifier use these words? <em>Comprehensiveness</em>: how much probability is lost
when they are replaced (more is better). <em>Sufficiency</em>: how much is lost when only they are left (less is
better).</dd>
<dt>How dear?</dt><dd>Time in predictions: 1 is what the bare prediction takes.</dd>
<dt>How was ExpNet trained?</dt><dd><em>Cross-task</em>: on marks of all other families of tasks, none of this one.
<em>Adapted</em>: taught by that one, with gradients, on texts of this task that nobody marked. <em>N marks</em>: on N
marked texts of this task, starting <em>from adapted</em> or <em>from nothing</em>.
<em>In-domain</em>: on all its marked texts.</dd>
<dt>What is it held against?</dt><dd><em>Baselines</em>: methods that learn nothing from people. <em>Controls</em> do
not look at the classifier at all: random scores, the length of a word, its place. What does not beat them explains
nothing. <em>Human</em>: people held against other people, where several marked the same text.</dd>
</dl>
"""

LIMITS = """
<ul>
<li><strong>Plausible is not faithful.</strong> That scores agree with people does not show that the classifier used
those words, only that the explanation looks right to people. A classifier may decide for reasons nobody would mark.
ExpNet is trained to agree with people: read its plausibility beside its faithfulness.</li>
<li><strong>Faithfulness is measured by replacing words</strong>, which gives the classifier texts it was never
trained on. Figures depend on what stands in for a word, so each replacement has its own table, and a random order is
the control.</li>
<li><strong>F1 alone misleads.</strong> It needs words to be marked or not. Marking every word already reaches a high
F1 where many words are marked, and the threshold decides much. F1 here marks, for every method, the share of words
that is marked in the development texts; “own threshold” is what ExpNet carries, which other methods lack; “best F1
possible” chooses the threshold for each text with its marks in view, and is an upper bound.</li>
<li><strong>Expensive methods (†)</strong> are measured on a stratified sample of each set. ExpNet is compared with
them on that sample, which is small, so intervals are wide.</li>
<li><strong>Some rationales are derived</strong>, not marked by a person for this purpose: such as from the labels of
phrases (sst_tree), from the difference between a good and a bad sentence (cola_minpairs, blimp), from corrections
(fce). There the question is whether a method finds what makes the difference.</li>
<li><strong>Intervals</strong> say how much hangs on the texts drawn, not on the training of the classifier or the
choice of seed. The best baseline is chosen on the test texts, which favours it.</li>
<li><strong>People rank nothing</strong>: they mark a word or they do not. Average precision of ties is low, so the
human figure is not the most that can be reached.</li>
</ul>
"""

FIGURES = {
    "trade_off": "Each mark is a method: right is more plausible, up is more faithful, dark is cheap. Means over the "
    "sets on which everything shown was measured; the table has the figures, and who is missing.",
    "few_marks": "How fast ExpNet learns a task, 0 being none of its texts and “all” all of them. Bands: 95 % "
    "bootstrap intervals over texts.",
    "deletion": "The probability of the class while words are replaced, those with the highest scores first: the lower "
    "the line, the more the classifier used these words. Dotted: in random order.",
}

SECTIONS = {
    "headline": ("Who agrees with people best?", "Average precision on every set. More is better, 1 is the most."),
    "ahead": (
        "How far is it ahead?",
        "ExpNet against the best baseline of each set, which is chosen on the test itself; how ExpNet was trained is "
        "the column.",
    ),
    "gains": ("How sure is the difference?", "ExpNet against the best method that learns nothing from people."),
    "trade_off": ("Plausible, faithful, cheap: at a glance", ""),
    "few_marks": ("How many marked texts does it take?", ""),
    "faithfulness": ("Does the classifier use these words?", "Probability lost and kept when words are replaced."),
    "stability": (
        "Does the same text get the same explanation?",
        "Agreement with the same method once more, in another batch, with another seed, for another classifier.",
    ),
    "sanity": (
        "Does the explanation depend on what the model learned?",
        "Agreement with the scores of a model whose upper layers were made random again, and of another class. High "
        "agreement with a random model is bad: such scores show the text, not the model.",
    ),
    "cost": ("What does it cost?", "Each run is timed between two bare predictions."),
    "plausibility": ("Agreement with people, every figure", ""),
}
