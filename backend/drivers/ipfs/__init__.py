"""IPFS: `kubo.KuboContentStore`."""
