// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

/// @title Who may use which datanet for what.
/// @notice A datanet is an ERC-721 token; its holder, and nobody else, decides. There is no admin.
/// A transfer ends every grant and every pending request: whoever takes a datanet over decides anew whom to let
/// in. Versions, terms and public purposes belong to the datanet and stay.
/// Purposes are a bitmask: TRAIN = 1, RETRIEVE = 2, EVALUATE = 4, EXPORT = 8. Times are Unix seconds.
contract DatanetRegistry is ERC721 {
    /// @notice What a datanet is now. The manifest fields are zero until a first version is published.
    /// `ownerEpoch` counts its transfers; grants and requests of an earlier epoch are void.
    struct Datanet {
        address owner;
        uint32 version;
        bytes32 manifestDigest;
        bytes32 recordsRoot;
        bytes32 termsDigest;
        uint32 termsVersion;
        uint32 publicPurposes;
        uint48 createdAt;
        uint32 ownerEpoch;
    }

    /// @notice What one wallet may do with one datanet; `expiresAt` 0 means never. Worth nothing once the datanet's
    /// `ownerEpoch` is another. One storage slot.
    struct Grant {
        uint32 purposes;
        uint48 expiresAt;
        uint48 grantedAt;
        uint32 termsVersion;
        uint64 nonce;
        uint32 ownerEpoch;
    }

    /// @notice What one wallet asks for; `purposes` 0 means no request is pending. One storage slot.
    struct Request {
        uint32 purposes;
        uint48 expiresAt;
        uint48 requestedAt;
        uint32 ownerEpoch;
    }

    struct Description {
        bytes32 termsDigest;
        uint32 version;
        uint32 termsVersion;
        uint32 publicPurposes;
        uint48 createdAt;
        uint32 ownerEpoch; // beside `publicPurposes`, so that `mayUse` reads both at once
    }

    struct Version {
        bytes32 manifestDigest;
        bytes32 recordsRoot;
        uint48 publishedAt;
    }

    uint32 private constant _ALL_PURPOSES = 15;
    uint256 private constant _MAX_NAME_BYTES = 80;
    uint256 private constant _MAX_MESSAGE_BYTES = 280;

    /// @notice Datanets so far; ids run from 1 to this.
    uint256 public datanetCount;

    mapping(uint256 datanetId => Description description) private _descriptions;
    mapping(uint256 datanetId => mapping(uint32 version => Version published)) private _versions;
    mapping(uint256 datanetId => mapping(address grantee => Grant held)) private _grants;
    mapping(uint256 datanetId => mapping(address requester => Request pending)) private _requests;

    /// @notice A datanet came into being; the ERC-721 `Transfer` to its owner follows.
    event DatanetCreated(
        uint256 indexed datanetId,
        address indexed owner,
        string name,
        bytes32 termsDigest,
        string termsCid
    );
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
        string message
    );
    /// @notice The requester took the request back.
    event RequestWithdrawn(uint256 indexed datanetId, address indexed requester);
    /// @notice The owner said yes; `AccessGranted` follows with what was granted.
    event RequestApproved(uint256 indexed datanetId, address indexed requester, address indexed by);
    /// @notice The owner said no.
    event RequestDenied(uint256 indexed datanetId, address indexed requester, address indexed by);
    /// @notice The grantee now holds exactly `purposes`, whatever it held before.
    event AccessGranted(
        uint256 indexed datanetId,
        address indexed grantee,
        address indexed by,
        uint32 purposes,
        uint48 expiresAt
    );
    /// @notice The grantee lost `purposes` and keeps `remaining`.
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
    /// @notice A name has 1 to 80 bytes.
    error DatanetRegistryInvalidName(uint256 lengthBytes);
    /// @notice A message has at most 280 bytes.
    error DatanetRegistryMessageTooLong(uint256 lengthBytes);
    /// @notice No known purpose, an unknown one, or more than was asked for.
    error DatanetRegistryInvalidPurposes(uint32 purposes);
    /// @notice An expiry is 0 (never) or in the future.
    error DatanetRegistryInvalidExpiry(uint48 expiresAt);
    /// @notice Nobody holds this wallet.
    error DatanetRegistryInvalidGrantee(address grantee);
    /// @notice The next version is the current one plus 1: somebody published in between.
    error DatanetRegistryInvalidVersion(uint256 datanetId, uint32 version, uint32 expected);
    /// @notice A version needs the digest of its manifest and the root of its records.
    error DatanetRegistryZeroDigest(uint256 datanetId);
    /// @notice That wallet has no pending request; one made to an earlier owner is none.
    error DatanetRegistryNoRequest(uint256 datanetId, address requester);

    modifier onlyDatanetOwner(uint256 datanetId) {
        if (_existing(datanetId) != msg.sender) revert DatanetRegistryNotOwner(datanetId, msg.sender);
        _;
    }

    constructor() ERC721("Byline Datanet", "DATANET") {}

    /// @notice Creates a datanet that belongs to the caller.
    /// @param name_ What people see; 1 to 80 bytes, kept in the event only.
    /// @param termsDigest SHA-256 of the terms that a user accepts; zero for none.
    /// @param termsCid Where the terms can be read.
    /// @param publicPurposes Purposes open to every wallet; 0 for none.
    /// @return datanetId The new token's id: 1, 2, 3, …
    function createDatanet(
        string calldata name_,
        bytes32 termsDigest,
        string calldata termsCid,
        uint32 publicPurposes
    ) external returns (uint256 datanetId) {
        uint256 nameBytes = bytes(name_).length;
        if (nameBytes == 0 || nameBytes > _MAX_NAME_BYTES) revert DatanetRegistryInvalidName(nameBytes);
        if (publicPurposes & ~_ALL_PURPOSES != 0) revert DatanetRegistryInvalidPurposes(publicPurposes);
        datanetId = ++datanetCount;
        _descriptions[datanetId] = Description({
            termsDigest: termsDigest,
            version: 0,
            termsVersion: 1,
            publicPurposes: publicPurposes,
            createdAt: uint48(block.timestamp),
            ownerEpoch: 0
        });
        emit DatanetCreated(datanetId, msg.sender, name_, termsDigest, termsCid);
        _mint(msg.sender, datanetId); // not _safeMint: no call into the caller half way
        if (publicPurposes != 0) emit PublicPurposesSet(datanetId, publicPurposes);
    }

    /// @notice Publishes the next version of the data. Earlier versions stay readable.
    /// @param version The current version plus 1, so that two publishers cannot overwrite one another.
    function publishVersion(
        uint256 datanetId,
        uint32 version,
        bytes32 manifestDigest,
        bytes32 recordsRoot,
        string calldata manifestCid
    ) external onlyDatanetOwner(datanetId) {
        if (manifestDigest == 0 || recordsRoot == 0) revert DatanetRegistryZeroDigest(datanetId);
        uint32 expected = _descriptions[datanetId].version + 1;
        if (version != expected) revert DatanetRegistryInvalidVersion(datanetId, version, expected);
        _descriptions[datanetId].version = version;
        _versions[datanetId][version] = Version(manifestDigest, recordsRoot, uint48(block.timestamp));
        emit VersionPublished(datanetId, version, manifestDigest, recordsRoot, manifestCid);
    }

    /// @notice Sets which purposes are open to every wallet; 0 closes all of them.
    function setPublicPurposes(uint256 datanetId, uint32 purposes) external onlyDatanetOwner(datanetId) {
        if (purposes & ~_ALL_PURPOSES != 0) revert DatanetRegistryInvalidPurposes(purposes);
        _descriptions[datanetId].publicPurposes = purposes;
        emit PublicPurposesSet(datanetId, purposes);
    }

    /// @notice Asks the owner of now for access. A wallet has at most one pending request a datanet.
    /// @param message Why, in at most 280 bytes; public, and kept in the event only.
    function requestAccess(uint256 datanetId, uint32 purposes, uint48 expiresAt, string calldata message) external {
        _existing(datanetId);
        _checkTerms(purposes, expiresAt);
        if (bytes(message).length > _MAX_MESSAGE_BYTES) revert DatanetRegistryMessageTooLong(bytes(message).length);
        _requests[datanetId][msg.sender] = Request({
            purposes: purposes,
            expiresAt: expiresAt,
            requestedAt: uint48(block.timestamp),
            ownerEpoch: _descriptions[datanetId].ownerEpoch
        });
        emit AccessRequested(datanetId, msg.sender, purposes, expiresAt, message);
    }

    /// @notice Takes the caller's pending request back.
    function withdrawRequest(uint256 datanetId) external {
        _takeRequest(datanetId, msg.sender);
        emit RequestWithdrawn(datanetId, msg.sender);
    }

    /// @notice Grants what was asked for, or a part of it, for as long as the owner says.
    /// @param purposes A subset of those requested: a request changed meanwhile cannot widen the owner's yes.
    function approveRequest(
        uint256 datanetId,
        address requester,
        uint32 purposes,
        uint48 expiresAt
    ) external onlyDatanetOwner(datanetId) {
        uint32 requested = _takeRequest(datanetId, requester);
        if (purposes & ~requested != 0) revert DatanetRegistryInvalidPurposes(purposes);
        emit RequestApproved(datanetId, requester, msg.sender);
        _grant(datanetId, requester, purposes, expiresAt);
    }

    /// @notice Refuses a pending request. What the requester already holds stays.
    function denyRequest(uint256 datanetId, address requester) external onlyDatanetOwner(datanetId) {
        _takeRequest(datanetId, requester);
        emit RequestDenied(datanetId, requester, msg.sender);
    }

    /// @notice Lets a wallet use the datanet for exactly these purposes; replaces what it held.
    function grant(
        uint256 datanetId,
        address grantee,
        uint32 purposes,
        uint48 expiresAt
    ) external onlyDatanetOwner(datanetId) {
        _grant(datanetId, grantee, purposes, expiresAt);
    }

    /// @notice Takes purposes away. What is public stays open to this wallet as to every other. Of a grant by an
    /// earlier owner nothing remains, whatever is named.
    function revoke(uint256 datanetId, address grantee, uint32 purposes) external onlyDatanetOwner(datanetId) {
        if (purposes == 0 || purposes & ~_ALL_PURPOSES != 0) revert DatanetRegistryInvalidPurposes(purposes);
        Grant storage held = _grants[datanetId][grantee];
        uint32 remaining = held.ownerEpoch == _descriptions[datanetId].ownerEpoch ? held.purposes & ~purposes : 0;
        held.purposes = remaining;
        ++held.nonce;
        emit AccessRevoked(datanetId, grantee, msg.sender, purposes, remaining);
    }

    /// @notice Whether a wallet may use a datanet for all of `purposes` at this block. Never reverts.
    /// @return True for the owner; else true when each bit is public or in a live grant of the present owner's.
    /// False for no purpose, an unknown purpose, or an unknown datanet.
    function mayUse(address grantee, uint256 datanetId, uint32 purposes) external view returns (bool) {
        if (purposes == 0 || purposes & ~_ALL_PURPOSES != 0) return false;
        address owner = _ownerOf(datanetId);
        if (owner == address(0)) return false;
        if (owner == grantee) return true;
        Description storage about = _descriptions[datanetId];
        Grant memory held = _grants[datanetId][grantee];
        uint32 open = about.publicPurposes;
        bool live = held.expiresAt == 0 || held.expiresAt > block.timestamp;
        if (live && held.ownerEpoch == about.ownerEpoch) open |= held.purposes;
        return purposes & ~open == 0;
    }

    /// @notice What the datanet is now.
    function datanetOf(uint256 datanetId) external view returns (Datanet memory) {
        address owner = _existing(datanetId);
        Description memory about = _descriptions[datanetId];
        Version memory current = _versions[datanetId][about.version];
        return
            Datanet({
                owner: owner,
                version: about.version,
                manifestDigest: current.manifestDigest,
                recordsRoot: current.recordsRoot,
                termsDigest: about.termsDigest,
                termsVersion: about.termsVersion,
                publicPurposes: about.publicPurposes,
                createdAt: about.createdAt,
                ownerEpoch: about.ownerEpoch
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

    /// @notice What a wallet was last granted: live, expired or by an earlier owner. Use `mayUse` to decide.
    function grantOf(uint256 datanetId, address grantee) external view returns (Grant memory) {
        return _grants[datanetId][grantee];
    }

    /// @notice What a wallet asks for; `purposes` 0 when nothing is pending.
    function requestOf(uint256 datanetId, address requester) external view returns (Request memory pending) {
        pending = _requests[datanetId][requester];
        if (pending.ownerEpoch != _descriptions[datanetId].ownerEpoch) delete pending;
    }

    /// @dev Every way a token moves ends here. The `Transfer` event is all that a replay needs. A transfer to
    /// oneself counts too, and so ends all grants at once.
    function _update(address to, uint256 datanetId, address auth) internal override returns (address from) {
        from = super._update(to, datanetId, auth);
        if (from != address(0)) ++_descriptions[datanetId].ownerEpoch; // a mint opens epoch 0
    }

    function _grant(uint256 datanetId, address grantee, uint32 purposes, uint48 expiresAt) private {
        if (grantee == address(0)) revert DatanetRegistryInvalidGrantee(grantee);
        _checkTerms(purposes, expiresAt);
        Description storage about = _descriptions[datanetId];
        _grants[datanetId][grantee] = Grant({
            purposes: purposes,
            expiresAt: expiresAt,
            grantedAt: uint48(block.timestamp),
            termsVersion: about.termsVersion,
            nonce: _grants[datanetId][grantee].nonce + 1,
            ownerEpoch: about.ownerEpoch
        });
        emit AccessGranted(datanetId, grantee, msg.sender, purposes, expiresAt);
    }

    function _takeRequest(uint256 datanetId, address requester) private returns (uint32 purposes) {
        Request memory pending = _requests[datanetId][requester];
        purposes = pending.purposes;
        bool gone = purposes == 0 || pending.ownerEpoch != _descriptions[datanetId].ownerEpoch;
        if (gone) revert DatanetRegistryNoRequest(datanetId, requester);
        delete _requests[datanetId][requester];
    }

    function _existing(uint256 datanetId) private view returns (address owner) {
        owner = _ownerOf(datanetId);
        if (owner == address(0)) revert DatanetRegistryUnknownDatanet(datanetId);
    }

    function _checkTerms(uint32 purposes, uint48 expiresAt) private view {
        if (purposes == 0 || purposes & ~_ALL_PURPOSES != 0) revert DatanetRegistryInvalidPurposes(purposes);
        if (expiresAt != 0 && expiresAt <= block.timestamp) revert DatanetRegistryInvalidExpiry(expiresAt);
    }
}
