"""The text of the report that does not depend on the figures, as HTML."""

TITLE = "Which words made the classifier decide? Attribution methods evaluated against human marks"

ASKED = """
<p>A classifier reads a text and predicts a class: this review is negative, this sentence is ungrammatical. An
<em>attribution method</em> gives every word a score that says how much it mattered for the prediction. This report
compares such methods. <strong>ExpNet</strong>, the method of this project, is a small network that reads the
classifier's attention. It was trained on <em>rationales</em>, the words that people marked as the reason, to tell which
attention patterns matter. The other methods are not trained on human marks; some need one prediction, others hundreds.
</p>
<dl>
<dt>Plausible?</dt><dd>Do the words with high scores agree with the words that people marked? <em>Average
precision</em> is 1 if every marked word scores above every other, and about the share of marked words if scores are
random. AUROC is the chance that a marked word scores above an unmarked one, 0.5 if random.</dd>
<dt>Faithful?</dt><dd>Does the classifier use these words? <em>Comprehensiveness</em>: how much probability is lost
when they are replaced (more is better). <em>Sufficiency</em>: how much is lost when only they are left (less is
better).</dd>
<dt>How expensive?</dt><dd>Time as a multiple of the bare prediction's: 1 means that it takes as long.</dd>
<dt>How was ExpNet trained?</dt><dd><em>Cross-task</em>: on human marks of all other families of tasks, none of this
one. <em>Adapted</em>: distilled from the cross-task ExpNet with gradients on unmarked texts of this task. <em>N
marks</em>: on N marked texts of this task, starting <em>from adapted</em> or <em>from scratch</em>.
<em>In-domain</em>: on all marked texts of this task.</dd>
<dt>What is it compared with?</dt><dd><em>Baselines</em>: methods that are not trained on human marks. <em>Controls</em>
do not look at the classifier at all: random scores, the length of a word, its position. A method that does not beat
them explains nothing. <em>Human</em>: annotators against each other, where several marked the same text.</dd>
</dl>
"""

LIMITS = """
<ul>
<li><strong>Plausible is not faithful.</strong> That scores agree with people does not show that the classifier used
those words, only that the explanation looks right to people. A classifier may decide for reasons that nobody would
mark. ExpNet is trained to agree with people: read its plausibility beside its faithfulness.</li>
<li><strong>Faithfulness is measured by replacing words</strong>, which gives the classifier texts it was never
trained on. Figures depend on what stands in for a word, so each replacement has its own table, and a random order is
the control.</li>
<li><strong>F1 alone misleads.</strong> It needs a yes or no for each word. Marking every word already reaches a high
F1 where many words are marked, and much depends on the threshold. For F1, every method here marks the share of words
that is marked in the development texts; “own threshold” is the one stored with an ExpNet, which other methods lack;
“best F1 possible” chooses the threshold for each text from its marks, and is an upper bound.</li>
<li><strong>Expensive methods (†)</strong> are measured on a stratified sample of each set. ExpNet is compared with
them on that sample, which is small, so intervals are wide.</li>
<li><strong>Some rationales are derived</strong>, not marked by a person for this purpose: from the labels of phrases
(sst_tree), from the difference between a good and a bad sentence (cola_minpairs, blimp), or from corrections (fce).
There the question is whether a method finds what makes the difference.</li>
<li><strong>Intervals</strong> cover the choice of texts, not the training of the classifier or the choice of seed.
The best baseline is chosen on the test texts, which favours it.</li>
<li><strong>Annotators do not rank words</strong>: they mark a word or they do not. Average precision of tied scores is
low, so the human figure is not an upper bound.</li>
</ul>
"""

FIGURES = {
    "trade_off": "Each mark is a method: right is more plausible, up is more faithful, dark is cheap. Means over the "
    "sets on which all of them were measured; the table has the figures, and the methods left out here.",
    "few_marks": "Average precision against the number of marked texts of the task that ExpNet was trained on. Bands: "
    "95 % bootstrap intervals over texts.",
    "deletion": "The probability of the class while words are replaced, those with the highest scores first: the lower "
    "the line, the more the classifier used these words. Dotted: in random order.",
}

SECTIONS = {
    "headline": ("Who agrees with people best?", "Average precision on every set. Higher is better; 1 is perfect."),
    "ahead": (
        "How far is it ahead?",
        "ExpNet against the best baseline of each set, which is chosen on the test set itself. A column for each way "
        "of training ExpNet.",
    ),
    "gains": ("How sure is the difference?", "ExpNet against the best method that is not trained on human marks."),
    "trade_off": ("Plausible, faithful, cheap: at a glance", ""),
    "few_marks": ("How many marked texts does it take?", ""),
    "faithfulness": ("Does the classifier use these words?", "Probability lost and kept when words are replaced."),
    "stability": (
        "Does the same text get the same explanation?",
        "Agreement with a second run of the method: in another batch, with another seed, for another classifier.",
    ),
    "sanity": (
        "Does the explanation depend on what the model learned?",
        "Agreement with the scores for a model whose upper layers were randomised, and for another class. High "
        "agreement with a random model is bad: such scores depend on the text, not on the model.",
    ),
    "cost": ("What does it cost?", "Each run is timed between two bare predictions."),
    "plausibility": ("Agreement with people, every figure", ""),
}
