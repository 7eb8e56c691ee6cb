// What the pages send to DatanetRegistry, and what its refusals mean to a person.

export const SIGNATURES = [
  "struct Terms { bytes32 licenceDigest; uint32 purposes; uint64 pricePer1000Answers; bytes3 currency; bool keepsModels; }",
  "struct SignedGrant { uint256 datanetId; address grantee; uint32 purposes; uint48 expiresAt; uint32 termsVersion; uint256 nonce; uint256 deadline; }",
  "struct SignedRevocation { uint256 datanetId; address grantee; uint32 purposes; uint256 nonce; uint256 deadline; }",
  "function createDatanet(string name, Terms terms, string licenceCid, uint32 publicPurposes) returns (uint256)",
  "function publishVersion(uint256 datanetId, uint32 version, bytes32 manifestDigest, bytes32 recordsRoot, string manifestCid)",
  "function setTerms(uint256 datanetId, uint32 termsVersion, Terms terms, string licenceCid)",
  "function acceptTerms(uint256 datanetId, uint32 termsVersion)",
  "function setPublicPurposes(uint256 datanetId, uint32 purposes)",
  "function setManager(uint256 datanetId, address manager, bool allowed)",
  "function freeze(uint256 datanetId)",
  "function unfreeze(uint256 datanetId)",
  "function requestAccess(uint256 datanetId, uint32 termsVersion, uint32 purposes, uint48 expiresAt, string message)",
  "function withdrawRequest(uint256 datanetId)",
  "function denyRequest(uint256 datanetId, address requester)",
  "function grantBySignature(SignedGrant consent, address signer, bytes signature)",
  "function revokeBySignature(SignedRevocation consent, address signer, bytes signature)",
  "function approve(address to, uint256 datanetId)",
  "function transferFrom(address from, address to, uint256 datanetId)",
  "error DatanetRegistryUnknownDatanet(uint256 datanetId)",
  "error DatanetRegistryNotOwner(uint256 datanetId, address caller)",
  "error DatanetRegistryNotManager(uint256 datanetId, address caller)",
  "error DatanetRegistryInvalidName(uint256 lengthBytes)",
  "error DatanetRegistryMessageTooLong(uint256 lengthBytes)",
  "error DatanetRegistryInvalidPurposes(uint32 purposes)",
  "error DatanetRegistryInvalidExpiry(uint48 expiresAt)",
  "error DatanetRegistryInvalidGrantee(address grantee)",
  "error DatanetRegistryInvalidVersion(uint256 datanetId, uint32 version, uint32 expected)",
  "error DatanetRegistryZeroDigest(uint256 datanetId)",
  "error DatanetRegistryStaleTerms(uint256 datanetId, uint32 termsVersion, uint32 current)",
  "error DatanetRegistryInvalidPrice(uint64 pricePer1000Answers, bytes3 currency)",
  "error DatanetRegistryNoGrant(uint256 datanetId, address grantee)",
  "error DatanetRegistrySignatureExpired(uint256 deadline)",
  "error DatanetRegistryStaleNonce(uint256 nonce, uint256 current)",
  "error DatanetRegistryInvalidSignature(address signer)",
  "error DatanetRegistryNotAccepted(uint256 datanetId, address to)",
  "error DatanetRegistryNoRequest(uint256 datanetId, address requester)",
  "error ERC721InvalidApprover(address approver)",
  "error ERC721InsufficientApproval(address operator, uint256 tokenId)",
  "error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner)",
];

const withdrawn = () => "This datanet is not offered to you any more: the offer was taken back, or went to another.";

export const REFUSALS = {
  DatanetRegistryUnknownDatanet: ([id]) => `There is no datanet ${id} on this chain.`,
  DatanetRegistryNotOwner: ([id, who]) => `Only the owner of datanet ${id} may do this, and ${who} is not its owner.`,
  DatanetRegistryNotManager: ([id, who]) =>
    `Only the owner of datanet ${id} and the owner's managers may do this, and ${who} is neither.`,
  DatanetRegistryInvalidName: ([n]) => `A name has 1 to 80 bytes; this one has ${n}.`,
  DatanetRegistryMessageTooLong: ([n]) => `A message has at most 280 bytes; this one has ${n}.`,
  DatanetRegistryInvalidPurposes: () => "Choose at least one purpose, and none beyond those that the terms offer.",
  DatanetRegistryInvalidExpiry: () => "That end date has already passed. Choose a later one, or none.",
  DatanetRegistryInvalidGrantee: ([who]) => `${who} is no one's address, and cannot be given access.`,
  DatanetRegistryInvalidVersion: ([, got, want]) =>
    `The next version is ${want}, not ${got}: another version was published meanwhile. Prepare the data again.`,
  DatanetRegistryZeroDigest: () => "The version has no content digest. Prepare the data again.",
  DatanetRegistryStaleTerms: ([, , current]) =>
    `The terms changed meanwhile: version ${current} holds now. Reload the page and read them first.`,
  DatanetRegistryInvalidPrice: () => "A price has an amount and a currency. Give both, or leave the amount empty.",
  DatanetRegistryNoGrant: () =>
    "You hold no access here that could go on under these terms: it was taken away, or the terms no longer offer it. " +
    "Ask for access instead.",
  DatanetRegistrySignatureExpired: () => "This signature was good for an hour, which is over. Sign again.",
  DatanetRegistryStaleNonce: () =>
    "What was signed does not count any more: this wallet's access was changed after it. Look again, then sign again.",
  DatanetRegistryInvalidSignature: ([who]) => `The chain does not take this for ${who}'s signature. Sign again.`,
  DatanetRegistryNotAccepted: withdrawn,
  DatanetRegistryNoRequest: () => "There is no such request any more: it was withdrawn or answered meanwhile.",
  ERC721InvalidApprover: () => "Only the owner may offer a datanet, and this wallet is not its owner.",
  ERC721InsufficientApproval: withdrawn,
  ERC721IncorrectOwner: withdrawn,
};
