// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Who may use which datanet for what, and under which terms.
/// @notice A datanet is an ERC-721 token; its holder decides, and managers that the holder names may grant, revoke,
/// publish and freeze. Nobody else can: there is no admin, no upgrade and no pause of the whole.
/// A transfer takes two steps: the owner offers by `approve`, and the one approved takes by `transferFrom`. It ends
/// every grant, every pending request and every manager's power: whoever takes a datanet over decides anew whom to
/// let in. Versions, terms and public purposes belong to the datanet and stay.
/// New terms end pending requests, and every grant rests until its grantee accepts them.
/// Purposes are a bitmask: TRAIN = 1, RETRIEVE = 2, EVALUATE = 4, EXPORT = 8. Times are Unix seconds.
contract DatanetRegistry is ERC721, EIP712 {
    /// @notice What a datanet is now. The manifest fields are zero until a first version is published.
    /// `ownerEpoch` counts its transfers; grants and requests of an earlier epoch are void.
    struct Datanet {
        address owner;
        uint32 version;
        bytes32 manifestDigest;
        bytes32 recordsRoot;
        bytes32 licenceDigest;
        uint32 termsVersion;
        uint32 publicPurposes;
        uint48 createdAt;
        uint32 ownerEpoch;
        bool frozen;
    }

    /// @notice What a user of a datanet agrees to. The price is information: nothing is charged here.
    struct Terms {
        bytes32 licenceDigest; // SHA-256 of the licence's text; zero for none
        uint32 purposes; // what may be asked for and granted at all
        uint64 pricePer1000Answers; // in hundredths of `currency`
        bytes3 currency; // ISO 4217, such as "EUR"; zero where there is no price
        bool keepsModels; // whether models trained under these terms may be served once TRAIN has ended
    }

    /// @notice What one wallet may do with one datanet; `expiresAt` 0 means never. It counts while `ownerEpoch` and
    /// `termsVersion` are the datanet's. One storage slot.
    struct Grant {
        uint32 purposes;
        uint48 expiresAt;
        uint48 grantedAt;
        uint32 termsVersion;
        uint64 nonce;
        uint32 ownerEpoch;
    }

    /// @notice What one wallet asks for, having accepted the terms of that version; `purposes` 0 means no request is
    /// pending. `nonce` is that of its grant when it asked: a later grant or revocation answers it. One storage slot.
    struct Request {
        uint32 purposes;
        uint48 expiresAt;
        uint48 requestedAt;
        uint32 termsVersion;
        uint32 ownerEpoch;
        uint64 nonce;
    }

    /// @notice What an owner or manager signs so that anyone may submit the grant.
    struct SignedGrant {
        uint256 datanetId;
        address grantee;
        uint32 purposes;
        uint48 expiresAt;
        uint32 termsVersion;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice What an owner or manager signs so that anyone may submit the revocation.
    struct SignedRevocation {
        uint256 datanetId;
        address grantee;
        uint32 purposes;
        uint256 nonce;
        uint256 deadline;
    }

    /// @dev All that a decision needs of a datanet, in one storage slot. It holds the owner a second time, so that
    /// `mayUse` reads two slots instead of three; `_update` is the only place that writes either.
    struct Standing {
        address owner;
        uint32 ownerEpoch;
        uint32 termsVersion;
        uint8 offered; // the terms' purposes
        uint8 publicPurposes;
        bool frozen;
    }

    struct Description {
        uint32 version;
        uint48 createdAt;
    }

    struct Version {
        bytes32 manifestDigest;
        bytes32 recordsRoot;
        uint48 publishedAt;
    }

    uint32 private constant _ALL_PURPOSES = 15;
    uint256 private constant _MAX_NAME_BYTES = 80;
    uint256 private constant _MAX_MESSAGE_BYTES = 280;
    bytes32 private constant _GRANT_TYPEHASH = keccak256(
        "Grant(uint256 datanetId,address grantee,uint32 purposes,uint48 expiresAt,uint32 termsVersion,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant _REVOCATION_TYPEHASH = keccak256(
        "Revocation(uint256 datanetId,address grantee,uint32 purposes,uint256 nonce,uint256 deadline)"
    );

    /// @notice Datanets so far; ids run from 1 to this.
    uint256 public datanetCount;

    mapping(uint256 datanetId => Standing standing) private _standings;
    mapping(uint256 datanetId => Description description) private _descriptions;
    mapping(uint256 datanetId => mapping(uint32 version => Terms terms)) private _terms;
    mapping(uint256 datanetId => mapping(uint32 ownerEpoch => mapping(address manager => bool named)))
        private _managers;
    mapping(uint256 datanetId => mapping(uint32 version => Version published)) private _versions;
    mapping(uint256 datanetId => mapping(address grantee => Grant held)) private _grants;
    mapping(uint256 datanetId => mapping(address requester => Request pending)) private _requests;

    /// @notice A datanet came into being; the ERC-721 `Transfer` to its owner and its `TermsSet` follow.
    event DatanetCreated(uint256 indexed datanetId, address indexed owner, string name);
    /// @notice These terms hold from now on; the licence can be read at `licenceCid`. Pending requests are void, and
    /// grants under earlier terms rest until their grantees accept these.
    event TermsSet(
        uint256 indexed datanetId,
        uint32 indexed termsVersion,
        bytes32 licenceDigest,
        string licenceCid,
        uint32 purposes,
        uint64 pricePer1000Answers,
        bytes3 currency,
        bool keepsModels
    );
    /// @notice The grantee accepted the terms of this version, and holds `purposes` under them.
    event TermsAccepted(
        uint256 indexed datanetId,
        address indexed grantee,
        uint32 indexed termsVersion,
        uint32 purposes
    );
    /// @notice This wallet may, or may no longer, act as the present owner's manager.
    event ManagerSet(uint256 indexed datanetId, address indexed manager, bool allowed);
    /// @notice Nobody may use the datanet for anything, its owner included.
    event DatanetFrozen(uint256 indexed datanetId, address indexed by);
    /// @notice What was granted and is still live counts again.
    event DatanetUnfrozen(uint256 indexed datanetId);
    /// @notice A version was published; the manifest is at `manifestCid` and its SHA-256 is `manifestDigest`.
    event VersionPublished(
        uint256 indexed datanetId,
        uint32 indexed version,
        bytes32 manifestDigest,
        bytes32 recordsRoot,
        string manifestCid
    );
    /// @notice These purposes, and only these, are open to every wallet from now on.
    event PublicPurposesSet(uint256 indexed datanetId, uint32 purposes);
    /// @notice A wallet asked for access; it replaces what that wallet asked for before.
    event AccessRequested(
        uint256 indexed datanetId,
        address indexed requester,
        uint32 purposes,
        uint48 expiresAt,
        uint32 termsVersion,
        string message
    );
    /// @notice The requester took the request back.
    event RequestWithdrawn(uint256 indexed datanetId, address indexed requester);
    /// @notice The owner, or a manager, said yes; `AccessGranted` follows with what was granted.
    event RequestApproved(uint256 indexed datanetId, address indexed requester, address indexed by);
    /// @notice The owner, or a manager, said no.
    event RequestDenied(uint256 indexed datanetId, address indexed requester, address indexed by);
    /// @notice The grantee now holds exactly `purposes` under the terms of that version, whatever it held before;
    /// `by` consented, in person or by signature.
    event AccessGranted(
        uint256 indexed datanetId,
        address indexed grantee,
        address indexed by,
        uint32 purposes,
        uint48 expiresAt,
        uint32 termsVersion
    );
    /// @notice The grantee lost `purposes` and keeps `remaining`; `by` decided, in person or by signature.
    event AccessRevoked(
        uint256 indexed datanetId,
        address indexed grantee,
        address indexed by,
        uint32 purposes,
        uint32 remaining
    );

    /// @notice There is no such datanet.
    error DatanetRegistryUnknownDatanet(uint256 datanetId);
    /// @notice Only the datanet's owner may do this.
    error DatanetRegistryNotOwner(uint256 datanetId, address caller);
    /// @notice Only the datanet's owner or one of the owner's managers may do this.
    error DatanetRegistryNotManager(uint256 datanetId, address caller);
    /// @notice A name has 1 to 80 bytes.
    error DatanetRegistryInvalidName(uint256 lengthBytes);
    /// @notice A message has at most 280 bytes.
    error DatanetRegistryMessageTooLong(uint256 lengthBytes);
    /// @notice No known purpose, an unknown one, one that the terms do not offer, or more than was asked for.
    error DatanetRegistryInvalidPurposes(uint32 purposes);
    /// @notice An expiry is 0 (never) or in the future.
    error DatanetRegistryInvalidExpiry(uint48 expiresAt);
    /// @notice Nobody holds this wallet.
    error DatanetRegistryInvalidGrantee(address grantee);
    /// @notice The next version is the current one plus 1: somebody published in between.
    error DatanetRegistryInvalidVersion(uint256 datanetId, uint32 version, uint32 expected);
    /// @notice A version needs the digest of its manifest and the root of its records.
    error DatanetRegistryZeroDigest(uint256 datanetId);
    /// @notice The terms of now are of version `current`; read them first.
    error DatanetRegistryStaleTerms(uint256 datanetId, uint32 termsVersion, uint32 current);
    /// @notice A price has a currency, and a currency a price.
    error DatanetRegistryInvalidPrice(uint64 pricePer1000Answers, bytes3 currency);
    /// @notice That wallet holds nothing of the present owner's that could go on under new terms.
    error DatanetRegistryNoGrant(uint256 datanetId, address grantee);
    /// @notice The consent was to be submitted before its deadline.
    error DatanetRegistrySignatureExpired(uint256 deadline);
    /// @notice Something changed since this was signed: the consent of now would be number `current`.
    error DatanetRegistryStaleNonce(uint256 nonce, uint256 current);
    /// @notice The signature is not this signer's over this consent.
    error DatanetRegistryInvalidSignature(address signer);
    /// @notice Only the one whom the owner approved takes a datanet over, and nobody can be made to.
    error DatanetRegistryNotAccepted(uint256 datanetId, address to);
    /// @notice Each datanet is offered by itself: there are no operators over all of them.
    error DatanetRegistryNoOperators();
    /// @notice That wallet has no pending request; one made to an earlier owner, or under earlier terms, is none.
    error DatanetRegistryNoRequest(uint256 datanetId, address requester);

    modifier onlyDatanetOwner(uint256 datanetId) {
        if (_existing(datanetId).owner != msg.sender) revert DatanetRegistryNotOwner(datanetId, msg.sender);
        _;
    }

    modifier onlyManager(uint256 datanetId) {
        _checkManager(datanetId, msg.sender);
        _;
    }

    constructor() ERC721("Byline Datanet", "DATANET") EIP712("Byline DatanetRegistry", "1") {}

    /// @notice Creates a datanet that belongs to the caller.
    /// @param name_ What people see; 1 to 80 bytes, kept in the event only.
    /// @param terms What a user agrees to: version 1 of the terms.
    /// @param licenceCid Where the licence can be read.
    /// @param publicPurposes Purposes open to every wallet, out of the terms'; 0 for none.
    /// @return datanetId The new token's id: 1, 2, 3, …
    function createDatanet(
        string calldata name_,
        Terms calldata terms,
        string calldata licenceCid,
        uint32 publicPurposes
    ) external returns (uint256 datanetId) {
        uint256 nameBytes = bytes(name_).length;
        if (nameBytes == 0 || nameBytes > _MAX_NAME_BYTES) revert DatanetRegistryInvalidName(nameBytes);
        datanetId = ++datanetCount;
        _descriptions[datanetId] = Description({version: 0, createdAt: uint48(block.timestamp)});
        emit DatanetCreated(datanetId, msg.sender, name_);
        _mint(msg.sender, datanetId); // not _safeMint: no call into the caller half way
        _setTerms(datanetId, 1, terms, licenceCid);
        if (publicPurposes != 0) _setPublicPurposes(datanetId, publicPurposes);
    }

    /// @notice Publishes the next version of the data. Earlier versions stay readable.
    /// @param version The current version plus 1, so that two publishers cannot overwrite one another.
    function publishVersion(
        uint256 datanetId,
        uint32 version,
        bytes32 manifestDigest,
        bytes32 recordsRoot,
        string calldata manifestCid
    ) external onlyManager(datanetId) {
        if (manifestDigest == 0 || recordsRoot == 0) revert DatanetRegistryZeroDigest(datanetId);
        uint32 expected = _descriptions[datanetId].version + 1;
        if (version != expected) revert DatanetRegistryInvalidVersion(datanetId, version, expected);
        _descriptions[datanetId].version = version;
        _versions[datanetId][version] = Version(manifestDigest, recordsRoot, uint48(block.timestamp));
        emit VersionPublished(datanetId, version, manifestDigest, recordsRoot, manifestCid);
    }

    /// @notice Sets new terms. Pending requests end, every grant rests until its grantee accepts, and public purposes
    /// that the new terms do not offer are closed.
    /// @param termsVersion The current version plus 1.
    function setTerms(
        uint256 datanetId,
        uint32 termsVersion,
        Terms calldata terms,
        string calldata licenceCid
    ) external onlyDatanetOwner(datanetId) {
        Standing storage standing = _standings[datanetId];
        uint32 current = standing.termsVersion;
        if (termsVersion != current + 1) revert DatanetRegistryStaleTerms(datanetId, termsVersion, current);
        _setTerms(datanetId, termsVersion, terms, licenceCid);
        uint32 publicPurposes = standing.publicPurposes;
        if (publicPurposes & ~terms.purposes != 0) _setPublicPurposes(datanetId, publicPurposes & terms.purposes);
    }

    /// @notice Goes on with what the caller was granted, under the terms of now and for the purposes that they offer.
    /// @param termsVersion The version that the caller has read; it must be the one of now.
    function acceptTerms(uint256 datanetId, uint32 termsVersion) external {
        Standing memory standing = _existing(datanetId);
        _checkTermsVersion(datanetId, termsVersion, standing.termsVersion);
        Grant storage held = _grants[datanetId][msg.sender];
        uint32 purposes = held.ownerEpoch == standing.ownerEpoch ? held.purposes & standing.offered : 0;
        if (purposes == 0) revert DatanetRegistryNoGrant(datanetId, msg.sender);
        held.purposes = purposes;
        held.termsVersion = termsVersion; // the nonce stays: no grantee can void what an owner has signed
        emit TermsAccepted(datanetId, msg.sender, termsVersion, purposes);
    }

    /// @notice Sets which of the offered purposes are open to every wallet; 0 closes all of them.
    function setPublicPurposes(uint256 datanetId, uint32 purposes) external onlyDatanetOwner(datanetId) {
        _setPublicPurposes(datanetId, purposes);
    }

    /// @notice Names a manager, or takes the power back. A transfer of the datanet ends all of its managers'.
    function setManager(uint256 datanetId, address manager, bool allowed) external onlyDatanetOwner(datanetId) {
        _managers[datanetId][_standings[datanetId].ownerEpoch][manager] = allowed;
        emit ManagerSet(datanetId, manager, allowed);
    }

    /// @notice Stops every use by everybody at once. What was granted, published and recorded stays.
    function freeze(uint256 datanetId) external onlyManager(datanetId) {
        _standings[datanetId].frozen = true;
        emit DatanetFrozen(datanetId, msg.sender);
    }

    /// @notice Lets what is still granted count again. The owner alone decides that.
    function unfreeze(uint256 datanetId) external onlyDatanetOwner(datanetId) {
        _standings[datanetId].frozen = false;
        emit DatanetUnfrozen(datanetId);
    }

    /// @notice Asks the owner of now for access. A wallet has at most one pending request a datanet.
    /// @param termsVersion The version of the terms that the caller accepts; it must be the one of now.
    /// @param message Why, in at most 280 bytes; public, and kept in the event only.
    function requestAccess(
        uint256 datanetId,
        uint32 termsVersion,
        uint32 purposes,
        uint48 expiresAt,
        string calldata message
    ) external {
        Standing memory standing = _existing(datanetId);
        _checkTermsVersion(datanetId, termsVersion, standing.termsVersion);
        _checkOffered(purposes, standing.offered);
        _checkExpiry(expiresAt);
        if (bytes(message).length > _MAX_MESSAGE_BYTES) revert DatanetRegistryMessageTooLong(bytes(message).length);
        _requests[datanetId][msg.sender] = Request({
            purposes: purposes,
            expiresAt: expiresAt,
            requestedAt: uint48(block.timestamp),
            termsVersion: termsVersion,
            ownerEpoch: standing.ownerEpoch,
            nonce: _grants[datanetId][msg.sender].nonce
        });
        emit AccessRequested(datanetId, msg.sender, purposes, expiresAt, termsVersion, message);
    }

    /// @notice Takes the caller's pending request back.
    function withdrawRequest(uint256 datanetId) external {
        _endRequest(datanetId, msg.sender);
        emit RequestWithdrawn(datanetId, msg.sender);
    }

    /// @notice Grants what was asked for, or a part of it, for as long as the owner or manager says.
    /// @param purposes A subset of those requested: a request changed meanwhile cannot widen the yes.
    function approveRequest(
        uint256 datanetId,
        address requester,
        uint32 purposes,
        uint48 expiresAt
    ) external onlyManager(datanetId) {
        uint32 requested = _pending(datanetId, requester).purposes;
        if (requested == 0) revert DatanetRegistryNoRequest(datanetId, requester);
        if (purposes & ~requested != 0) revert DatanetRegistryInvalidPurposes(purposes);
        emit RequestApproved(datanetId, requester, msg.sender);
        _grant(datanetId, requester, msg.sender, purposes, expiresAt);
    }

    /// @notice Refuses a pending request. What the requester already holds stays.
    function denyRequest(uint256 datanetId, address requester) external onlyManager(datanetId) {
        _endRequest(datanetId, requester);
        emit RequestDenied(datanetId, requester, msg.sender);
    }

    /// @notice Lets a wallet use the datanet for exactly these purposes, under the terms of now; replaces what it held,
    /// and answers what it asked for.
    function grant(
        uint256 datanetId,
        address grantee,
        uint32 purposes,
        uint48 expiresAt
    ) external onlyManager(datanetId) {
        _grant(datanetId, grantee, msg.sender, purposes, expiresAt);
    }

    /// @notice Grants what an owner or manager signed. Anyone may submit it, once. Void after its deadline, and as
    /// soon as the owner's side has changed anything of this grant or the terms.
    /// @param consent What was signed, as EIP-712 type `Grant`.
    /// @param signer The owner or manager who signed.
    /// @param signature The signer's; a contract wallet answers by ERC-1271.
    function grantBySignature(SignedGrant calldata consent, address signer, bytes calldata signature) external {
        (uint256 datanetId, address grantee) = (consent.datanetId, consent.grantee);
        _checkConsent(datanetId, grantee, consent.nonce, consent.deadline, signer, grantDigest(consent), signature);
        _checkTermsVersion(datanetId, consent.termsVersion, _standings[datanetId].termsVersion);
        _grant(datanetId, grantee, signer, consent.purposes, consent.expiresAt);
    }

    /// @notice Takes purposes away, and answers what the wallet asked for. What is public stays open to it as to every
    /// other. Of a grant by an earlier owner nothing remains, whatever is named.
    function revoke(uint256 datanetId, address grantee, uint32 purposes) external onlyManager(datanetId) {
        _revoke(datanetId, grantee, msg.sender, purposes);
    }

    /// @notice Takes away what an owner or manager signed. Anyone may submit it, once. Void after its deadline, and
    /// as soon as the owner's side has changed anything of this grant.
    /// @param consent What was signed, as EIP-712 type `Revocation`.
    /// @param signer The owner or manager who signed.
    /// @param signature The signer's; a contract wallet answers by ERC-1271.
    function revokeBySignature(SignedRevocation calldata consent, address signer, bytes calldata signature) external {
        (uint256 datanetId, address grantee) = (consent.datanetId, consent.grantee);
        bytes32 digest = revocationDigest(consent);
        _checkConsent(datanetId, grantee, consent.nonce, consent.deadline, signer, digest, signature);
        _revoke(datanetId, grantee, signer, consent.purposes);
    }

    /// @notice Whether a wallet may use a datanet for all of `purposes` at this block. Never reverts.
    /// @return True for the owner; else true when each bit is public or in a live grant: one of the present owner's,
    /// not expired, under the terms of now. False for everybody while the datanet is frozen, and for no purpose, an
    /// unknown purpose, or an unknown datanet.
    function mayUse(address grantee, uint256 datanetId, uint32 purposes) external view returns (bool) {
        if (purposes == 0 || purposes & ~_ALL_PURPOSES != 0) return false;
        Standing memory standing = _standings[datanetId];
        if (standing.owner == address(0) || standing.frozen) return false;
        if (standing.owner == grantee) return true;
        Grant memory held = _grants[datanetId][grantee];
        uint32 open = standing.publicPurposes;
        bool live = held.expiresAt == 0 || held.expiresAt > block.timestamp;
        if (live && held.ownerEpoch == standing.ownerEpoch && held.termsVersion == standing.termsVersion) {
            open |= held.purposes;
        }
        return purposes & ~open == 0;
    }

    /// @notice What the datanet is now.
    function datanetOf(uint256 datanetId) external view returns (Datanet memory) {
        Standing memory standing = _existing(datanetId);
        Description memory about = _descriptions[datanetId];
        Version memory current = _versions[datanetId][about.version];
        return
            Datanet({
                owner: standing.owner,
                version: about.version,
                manifestDigest: current.manifestDigest,
                recordsRoot: current.recordsRoot,
                licenceDigest: _terms[datanetId][standing.termsVersion].licenceDigest,
                termsVersion: standing.termsVersion,
                publicPurposes: standing.publicPurposes,
                createdAt: about.createdAt,
                ownerEpoch: standing.ownerEpoch,
                frozen: standing.frozen
            });
    }

    /// @notice One published version; all zero when that version was never published.
    function versionOf(
        uint256 datanetId,
        uint32 version
    ) external view returns (bytes32 manifestDigest, bytes32 recordsRoot, uint48 publishedAt) {
        Version memory published = _versions[datanetId][version];
        return (published.manifestDigest, published.recordsRoot, published.publishedAt);
    }

    /// @notice The terms of that version; all zero when there never was one.
    function termsOf(uint256 datanetId, uint32 termsVersion) external view returns (Terms memory) {
        return _terms[datanetId][termsVersion];
    }

    /// @notice What a wallet was last granted: live, resting, expired or by an earlier owner. `mayUse` decides.
    function grantOf(uint256 datanetId, address grantee) external view returns (Grant memory) {
        return _grants[datanetId][grantee];
    }

    /// @notice What a wallet asks for; `purposes` 0 when nothing is pending.
    function requestOf(uint256 datanetId, address requester) external view returns (Request memory) {
        return _pending(datanetId, requester);
    }

    /// @notice Whether a wallet acts for the present owner; the owner itself is no manager.
    function isManager(uint256 datanetId, address manager) external view returns (bool) {
        return _managers[datanetId][_standings[datanetId].ownerEpoch][manager];
    }

    /// @notice The number that the next signed consent about this grantee must carry. It grows with every grant and
    /// revocation and with every transfer, so that what was signed before is void.
    function nonceOf(uint256 datanetId, address grantee) public view returns (uint256) {
        return (uint256(_standings[datanetId].ownerEpoch) << 64) | _grants[datanetId][grantee].nonce;
    }

    /// @notice The EIP-712 digest of a signed grant.
    function grantDigest(SignedGrant calldata consent) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(_GRANT_TYPEHASH, consent)));
    }

    /// @notice The EIP-712 digest of a signed revocation.
    function revocationDigest(SignedRevocation calldata consent) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(_REVOCATION_TYPEHASH, consent)));
    }

    /// @notice Always refused: a datanet changes hands by its own approval only.
    function setApprovalForAll(address, bool) public pure override {
        revert DatanetRegistryNoOperators();
    }

    /// @dev Every way a token moves ends here. The `Transfer` event is all that a replay needs. A transfer to
    /// oneself counts too, and so ends all grants at once.
    function _update(address to, uint256 datanetId, address auth) internal override returns (address from) {
        from = super._update(to, datanetId, auth);
        Standing storage standing = _standings[datanetId];
        if (from != address(0)) {
            if (msg.sender != to) revert DatanetRegistryNotAccepted(datanetId, to);
            ++standing.ownerEpoch; // a mint opens epoch 0
        }
        standing.owner = to;
    }

    /// @dev The owner is read from the slot that decisions read.
    function _ownerOf(uint256 datanetId) internal view override returns (address) {
        return _standings[datanetId].owner;
    }

    function _setTerms(
        uint256 datanetId,
        uint32 termsVersion,
        Terms calldata terms,
        string calldata licenceCid
    ) private {
        _checkOffered(terms.purposes, uint8(_ALL_PURPOSES));
        if ((terms.pricePer1000Answers == 0) != (terms.currency == 0)) {
            revert DatanetRegistryInvalidPrice(terms.pricePer1000Answers, terms.currency);
        }
        _terms[datanetId][termsVersion] = terms;
        _standings[datanetId].termsVersion = termsVersion;
        _standings[datanetId].offered = uint8(terms.purposes);
        emit TermsSet(
            datanetId,
            termsVersion,
            terms.licenceDigest,
            licenceCid,
            terms.purposes,
            terms.pricePer1000Answers,
            terms.currency,
            terms.keepsModels
        );
    }

    function _setPublicPurposes(uint256 datanetId, uint32 purposes) private {
        if (purposes & ~uint32(_standings[datanetId].offered) != 0) revert DatanetRegistryInvalidPurposes(purposes);
        _standings[datanetId].publicPurposes = uint8(purposes);
        emit PublicPurposesSet(datanetId, purposes);
    }

    function _grant(uint256 datanetId, address grantee, address by, uint32 purposes, uint48 expiresAt) private {
        if (grantee == address(0)) revert DatanetRegistryInvalidGrantee(grantee);
        Standing memory standing = _standings[datanetId];
        _checkOffered(purposes, standing.offered);
        _checkExpiry(expiresAt);
        Grant storage held = _grants[datanetId][grantee];
        _grants[datanetId][grantee] = Grant({
            purposes: purposes,
            expiresAt: expiresAt,
            grantedAt: uint48(block.timestamp),
            termsVersion: standing.termsVersion,
            nonce: held.nonce + 1,
            ownerEpoch: standing.ownerEpoch
        });
        emit AccessGranted(datanetId, grantee, by, purposes, expiresAt, standing.termsVersion);
    }

    function _revoke(uint256 datanetId, address grantee, address by, uint32 purposes) private {
        _checkOffered(purposes, uint8(_ALL_PURPOSES));
        Grant memory held = _grants[datanetId][grantee];
        uint32 remaining = held.ownerEpoch == _standings[datanetId].ownerEpoch ? held.purposes & ~purposes : 0;
        held.purposes = remaining;
        ++held.nonce;
        _grants[datanetId][grantee] = held;
        emit AccessRevoked(datanetId, grantee, by, purposes, remaining);
    }

    function _endRequest(uint256 datanetId, address requester) private {
        if (_pending(datanetId, requester).purposes == 0) revert DatanetRegistryNoRequest(datanetId, requester);
        delete _requests[datanetId][requester];
    }

    function _pending(uint256 datanetId, address requester) private view returns (Request memory asked) {
        asked = _requests[datanetId][requester];
        Standing memory standing = _standings[datanetId];
        bool stands =
            asked.ownerEpoch == standing.ownerEpoch &&
                asked.termsVersion == standing.termsVersion &&
                asked.nonce == _grants[datanetId][requester].nonce;
        if (!stands) delete asked;
    }

    function _existing(uint256 datanetId) private view returns (Standing memory standing) {
        standing = _standings[datanetId];
        if (standing.owner == address(0)) revert DatanetRegistryUnknownDatanet(datanetId);
    }

    function _checkManager(uint256 datanetId, address who) private view {
        address owner = _standings[datanetId].owner;
        if (who == owner && owner != address(0)) return;
        if (!_managers[datanetId][_existing(datanetId).ownerEpoch][who]) {
            revert DatanetRegistryNotManager(datanetId, who);
        }
    }

    function _checkConsent(
        uint256 datanetId,
        address grantee,
        uint256 nonce,
        uint256 deadline,
        address signer,
        bytes32 digest,
        bytes calldata signature
    ) private view {
        _checkManager(datanetId, signer);
        if (block.timestamp > deadline) revert DatanetRegistrySignatureExpired(deadline);
        uint256 current = nonceOf(datanetId, grantee);
        if (nonce != current) revert DatanetRegistryStaleNonce(nonce, current);
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) {
            revert DatanetRegistryInvalidSignature(signer);
        }
    }

    function _checkTermsVersion(uint256 datanetId, uint32 termsVersion, uint32 current) private pure {
        if (termsVersion != current) revert DatanetRegistryStaleTerms(datanetId, termsVersion, current);
    }

    function _checkOffered(uint32 purposes, uint8 offered) private pure {
        if (purposes == 0 || purposes & ~uint32(offered) != 0) revert DatanetRegistryInvalidPurposes(purposes);
    }

    function _checkExpiry(uint48 expiresAt) private view {
        if (expiresAt != 0 && expiresAt <= block.timestamp) revert DatanetRegistryInvalidExpiry(expiresAt);
    }
}
