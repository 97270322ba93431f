"""The transfer set on disk: records, shards, the plan and the manifest."""
