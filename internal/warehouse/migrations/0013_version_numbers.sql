-- Which versions of models were begun, so that no number is given twice: a training of a process that was paused may write
-- its scores late.
CREATE TABLE IF NOT EXISTS version_numbers (model UInt32, version UInt32)
ENGINE = ReplacingMergeTree
ORDER BY (model, version);
